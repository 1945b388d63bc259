//! The loop. It owns everything and awaits everything in one place: acknowledgements, the database, the clock, wake-ups.
//!
//! Two things are asked of the database at a time at most: one about leases, and one about rows. That statements about rows
//! follow one another is what the [horizon](crate::horizon) and the unblocking of keys rest on.

mod leases;
mod rows;
mod sending;
mod sweeps;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::{pending, ready};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use messaging::{KafkaSettings, Producer};
use persistence::outbox::{self, Lease, Row};
use sqlx::PgPool;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use uuid::Uuid;

use self::leases::Tending;
use self::rows::{Claims, Done};
use self::sending::Report;
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
    producer: Producer,
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
    database: Slot<Done>,
    /// The database is left alone until then.
    database_rests: Option<Instant>,

    deliveries: FuturesUnordered<BoxFuture<'static, Report>>,
    /// Kafka is left alone until then.
    kafka_rests: Option<Instant>,
    /// The producer is of no use any more.
    broken: bool,
    stopping: bool,
}

impl Work {
    pub(crate) fn new(
        pool: PgPool,
        kafka: KafkaSettings,
        producer: Producer,
        settings: RelaySettings,
        status: RelayStatus,
    ) -> Self {
        let now = Instant::now();
        Self {
            pool,
            kafka,
            producer,
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
            database_rests: None,
            deliveries: FuturesUnordered::new(),
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
        self.ask_database(now).await;
        let deadline = self.deadline();
        tokio::select! {
            biased;
            () = shutdown.cancelled() => {}
            // Leases first: they run out.
            tended = self.tending.done() => self.tended(tended),
            Some(report) = self.deliveries.next() => self.reported(report),
            done = self.database.done() => self.answered(done).await,
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
        let mut due = vec![far];
        if self.tending.is_free() && !self.stopping {
            due.push(self.next_tending);
        }
        if self.database.is_free() {
            due.push(self.database_rests.unwrap_or(if self.can_claim() { self.claims.next } else { far }));
        }
        due.extend(self.kafka_rests);
        due.into_iter().min().unwrap_or(far)
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
