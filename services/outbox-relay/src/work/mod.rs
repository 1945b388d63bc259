//! The loop. It owns everything and awaits everything in one place: acknowledgements, the database, the clock, wake-ups.
//!
//! Three things are asked of the database at a time at most: one about leases, one about rows that wait, and the removal of rows. That
//! statements about rows that wait follow one another is what the [horizon](crate::horizon) and the unblocking of keys rest on.

mod kept;
mod leases;
mod rows;
mod sending;
mod settling;
mod sweeps;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::{pending, ready};
use std::time::Duration;

use futures::future::BoxFuture;
use messaging::{KafkaSettings, Outlet};
use persistence::outbox::{self, Lease, Row};
use sqlx::PgPool;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use uuid::Uuid;

use self::kept::Kept;
use self::leases::Tending;
use self::rows::{Claims, Done};
use self::sending::Sent;
pub(crate) use self::sending::outlet;
use self::settling::Settled;
use crate::horizon::Horizon;
use crate::lanes::Lanes;
use crate::point::{Observer, Point};
use crate::relay::RelaySettings;
use crate::status::{RelayStatus, Side};
use crate::wake::Wake;

/// What a stop may take beyond what is in flight.
const FAREWELL: Duration = Duration::from_secs(1);

pub(crate) struct Work {
    pool: PgPool,
    kafka: KafkaSettings,
    outlet: Outlet<Sent>,
    settings: RelaySettings,
    status: RelayStatus,
    observer: Option<Observer>,

    lease: Lease,
    /// When the registration ends at the earliest.
    ends: Instant,
    /// Buckets to be given back once nothing of them is in hand.
    leaving: BTreeSet<i16>,
    tending: Slot<Tending>,
    next_tending: Instant,

    lanes: Lanes,
    horizon: Horizon,
    /// What was last written down of how far each bucket is done with.
    marks: BTreeMap<i16, i64>,
    claims: Claims,
    /// Rows refused alone, whose keys are to be blocked.
    refused: VecDeque<(Row, String)>,
    /// An operator has released keys.
    released: bool,
    asking: Kept,
    database: Slot<Done>,
    removing: Kept,
    settling: Slot<Settled>,
    /// When it was last begun.
    last_settled: Instant,
    /// The database is left alone until then.
    database_rests: Option<Instant>,

    /// Kafka is left alone until then.
    kafka_rests: Option<Instant>,
    /// The outlet is of no use any more.
    broken: bool,
    stopping: bool,
}

impl Work {
    pub(crate) fn new(
        pool: PgPool,
        kafka: KafkaSettings,
        outlet: Outlet<Sent>,
        settings: RelaySettings,
        status: RelayStatus,
    ) -> Self {
        let now = Instant::now();
        Self {
            asking: Kept::new(pool.clone()),
            removing: Kept::new(pool.clone()),
            pool,
            kafka,
            outlet,
            settings,
            status,
            observer: None,
            lease: Lease::new(Uuid::new_v4()),
            ends: now,
            leaving: BTreeSet::new(),
            tending: Slot::default(),
            next_tending: now,
            lanes: Lanes::default(),
            horizon: Horizon::default(),
            marks: BTreeMap::new(),
            claims: Claims::new(now, &settings),
            refused: VecDeque::new(),
            released: false,
            database: Slot::default(),
            settling: Slot::default(),
            last_settled: now,
            database_rests: None,
            kafka_rests: None,
            broken: false,
            stopping: false,
        }
    }

    pub(crate) fn observe(&mut self, observer: Observer) {
        self.observer = Some(observer);
    }

    pub(crate) async fn run(mut self, wake: &Wake, shutdown: &CancellationToken) {
        while !shutdown.is_cancelled() {
            self.turn(wake, shutdown).await;
        }
        let deadline = Instant::now() + self.settings.message_timeout + FAREWELL;
        self.stop_taking();
        while !self.is_done() && Instant::now() < deadline {
            self.turn(wake, &CancellationToken::new()).await;
        }
        match timeout(FAREWELL, outbox::leave(&self.pool, self.lease.owner())).await {
            Ok(Ok(())) => info!("leases given back"),
            Ok(Err(error)) => warn!(%error, "leases not given back, they will run out"),
            Err(_) => warn!("leases not given back, they will run out"),
        }
        self.status.holds(0);
    }

    /// Starts what can be started, then waits for one thing to happen.
    async fn turn(&mut self, wake: &Wake, shutdown: &CancellationToken) {
        let now = Instant::now();
        if self.send(now) {
            self.reached(Point::Enqueued).await;
        }
        self.start_tending(now);
        self.start_settling(now).await;
        self.ask_database(now);
        let metrics = &self.status.metrics;
        metrics.in_flight.set(self.lanes.in_flight() as i64);
        metrics.waiting.set(self.lanes.waiting() as i64);
        let deadline = self.deadline();
        tokio::select! {
            biased;
            () = shutdown.cancelled() => {}
            // Leases first: they run out.
            tended = self.tending.done() => self.tended(tended),
            reports = self.outlet.outcomes() => self.reported(reports),
            done = self.database.done() => self.answered(done).await,
            settled = self.settling.done() => self.settled(settled),
            () = wake.leases.notified() => self.next_tending = Instant::now(),
            () = wake.rows.notified() => self.claims.hurry(Instant::now()),
            () = sleep_until(deadline) => {}
        }
    }

    /// The next moment at which something is due.
    fn deadline(&self) -> Instant {
        let now = Instant::now();
        if self.can_send(now) && self.lanes.can_send() {
            return now;
        }
        let far = now + self.settings.lease;
        let tending = (self.tending.is_free() && !self.stopping).then_some(self.next_tending);
        let claim = self.can_claim().then_some(self.claims.next);
        let may_ask = self.database.is_free() && !self.is_giving_back();
        let asking = if may_ask { self.database_rests.or(claim) } else { None };
        let due = [tending, asking, self.settling_is_due(), self.kafka_rests];
        due.into_iter().flatten().fold(far, Instant::min)
    }

    fn stop_taking(&mut self) {
        self.stopping = true;
        for bucket in self.lease.buckets() {
            self.lanes.leave(bucket);
            self.horizon.remove(bucket);
        }
    }

    fn is_done(&self) -> bool {
        self.lanes.in_flight() == 0
            && self.lanes.to_settle() == 0
            && self.tending.is_free()
            && self.database.is_free()
            && self.settling.is_free()
    }

    /// Borrows nothing while it waits: what is being worked on can be sent to another thread, not shared with one.
    fn reached(&self, point: Point) -> BoxFuture<'static, ()> {
        match &self.observer {
            Some(observer) => observer(point),
            None => Box::pin(ready(())),
        }
    }

    fn trouble(&self, side: Side, reason: String) {
        if self.status.trouble(side, Some(reason.clone())) {
            warn!(reason, "cannot publish, will go on trying");
        }
    }

    fn well(&self, side: Side) {
        if self.status.trouble(side, None) {
            info!("publishing again");
        }
    }
}

/// At most one future of a kind.
struct Slot<T>(Option<BoxFuture<'static, T>>);

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T> Slot<T> {
    fn is_free(&self) -> bool {
        self.0.is_none()
    }

    fn start(&mut self, work: impl Future<Output = T> + Send + 'static) {
        self.0 = Some(Box::pin(work));
    }

    /// Waits for what was started; for ever if nothing was. May be dropped and called again.
    async fn done(&mut self) -> T {
        let Some(work) = self.0.as_mut() else { return pending().await };
        let outcome = work.await;
        self.0 = None;
        outcome
    }
}

/// A statement that does not answer counts as an unreachable database.
async fn in_time<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    timeout(limit, work).await.unwrap_or_else(|_| Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())))
}
