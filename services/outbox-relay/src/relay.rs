//! A relay, its settings, and its life from the first registration to the last lease given back.

use std::time::Duration;

use messaging::KafkaSettings;
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use crate::point::Observer;
use crate::status::RelayStatus;
use crate::wake::Wake;
use crate::work::{self, Work};

/// How the relay works. The defaults suit production; tests shorten them.
#[derive(Clone, Copy, Debug)]
pub struct RelaySettings {
    /// How long a registration, and with it every lease, lasts without being renewed: the longest pause after a relay was killed
    /// is this and the time of one `tending`.
    pub lease: Duration,
    /// How often the registration is renewed, and free buckets are looked for.
    pub tending: Duration,
    /// How long a record may wait for its acknowledgement. Shorter than the lease, so that nothing is in flight when it ends.
    pub message_timeout: Duration,
    /// How long a record waits for others of its partition. Rows are claimed in company, so there is little to wait for.
    pub linger: Duration,
    /// Most rows of a bucket in one claim.
    pub per_bucket: usize,
    /// Most rows in flight. Twice as many are in hand with their payloads at most, and some times as many by their ids until they are removed.
    pub in_flight: usize,
    /// From one claim to the next while there is something new. While there is not, claims become rarer, up to `longest_idle`.
    pub shortest_idle: Duration,
    /// Longest time between two claims.
    pub longest_idle: Duration,
    /// Longest time between two sweeps, which read every bucket from its beginning; longer when a sweep takes long, so that
    /// sweeping stays below a tenth of the time.
    pub sweep: Duration,
    /// How far a bucket is done with is written down whenever it has moved by so many ids. The default is 1,000 rows, if all buckets are as
    /// busy: through so many dead rows of each bucket a relay reads when it takes over, and through more only if a blocked key or an open
    /// transaction that has written something holds the mark down.
    pub mark_every: i64,
    /// Wait after a failure.
    pub pause: Duration,
}

impl Default for RelaySettings {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(4),
            tending: Duration::from_millis(500),
            message_timeout: Duration::from_secs(2),
            linger: Duration::ZERO,
            per_bucket: 64,
            in_flight: 4096,
            shortest_idle: Duration::from_millis(2),
            longest_idle: Duration::from_millis(250),
            sweep: Duration::from_secs(1),
            mark_every: 64_000,
            pause: Duration::from_millis(500),
        }
    }
}

/// One relay. Any number of them share the buckets of an outbox.
pub struct Relay {
    pool: PgPool,
    work: Work,
}

impl Relay {
    /// A relay for the outbox that `pool` reaches, which is one of [`persistence::outbox::connect`]. Connects to neither side yet.
    ///
    /// # Errors
    /// Settings that Kafka's client does not take.
    pub fn new(
        pool: PgPool,
        kafka: KafkaSettings,
        settings: RelaySettings,
        status: RelayStatus,
    ) -> anyhow::Result<Self> {
        let outlet = work::outlet(&kafka, &settings)?;
        Ok(Self { pool: pool.clone(), work: Work::new(pool, kafka, outlet, settings, status) })
    }

    /// Has `observer` called at each [`Point`](crate::Point), for tests.
    #[must_use]
    pub fn observed_by(mut self, observer: Observer) -> Self {
        self.work.observe(observer);
        self
    }

    /// Publishes until `shutdown`, then finishes what is in flight and gives the leases back. Trouble of either side is waited out.
    pub async fn run(self, shutdown: CancellationToken) {
        let wake = Wake::default();
        tokio::select! {
            biased;
            () = self.work.run(&wake, &shutdown) => {}
            () = wake.listen(&self.pool) => {}
        }
    }
}
