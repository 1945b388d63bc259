//! The loop: hold the lease, claim, publish, settle.
//!
//! Order per key: a batch holds at most one row per key, always the oldest unsettled one, and the next batch is claimed
//! after every row of the last one was acknowledged, refused or given up. A relay that lost its lease without noticing can
//! only send again what its successor also sends.

use std::collections::HashSet;
use std::time::Duration;

use messaging::{KafkaSettings, Producer, PublishError};
use persistence::outbox::{self, Lease, Row, RowId};
use sqlx::PgPool;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};
use uuid::Uuid;

use crate::MARGIN;
use crate::record::record;
use crate::status::RelayStatus;

/// How the relay works. The defaults suit production; tests shorten them.
#[derive(Clone, Copy, Debug)]
pub struct RelaySettings {
    /// How long the lease lasts without being renewed: the longest pause after a relay was killed.
    pub lease: Duration,
    /// How long a record may wait for its acknowledgement. Shorter than the lease, so that nothing is in flight when it ends.
    pub message_timeout: Duration,
    /// Rows per bucket and batch.
    pub per_bucket: i64,
    /// First wait after an empty claim; doubled up to `longest_idle`.
    pub shortest_idle: Duration,
    /// Longest wait after an empty claim.
    pub longest_idle: Duration,
    /// Wait after a failure, and between two looks at somebody else's lease.
    pub pause: Duration,
}

impl Default for RelaySettings {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(10),
            message_timeout: Duration::from_secs(4),
            per_bucket: 16,
            shortest_idle: Duration::from_millis(10),
            longest_idle: Duration::from_millis(200),
            pause: Duration::from_millis(500),
        }
    }
}

/// One relay process.
pub struct Relay {
    pool: PgPool,
    kafka: KafkaSettings,
    producer: Producer,
    settings: RelaySettings,
    status: RelayStatus,
    owner: Uuid,
}

/// A lease with the local time at which it ends at the earliest.
struct Held {
    lease: Lease,
    ends: Instant,
}

/// What a batch came to.
#[derive(Debug, PartialEq, Eq)]
enum Batch {
    /// Nothing was waiting.
    Empty,
    /// Rows were published, or blocked.
    Worked,
    /// Kafka is away or not set up; the rows stay.
    Stalled,
    /// Another relay took over.
    Lost,
}

impl Relay {
    /// A relay for the outbox that `pool` reaches. Connects to neither side yet.
    pub fn new(
        pool: PgPool,
        kafka: KafkaSettings,
        settings: RelaySettings,
        status: RelayStatus,
    ) -> anyhow::Result<Self> {
        let producer = Producer::new(&kafka, "outbox-relay", settings.message_timeout)?;
        Ok(Self { pool, kafka, producer, settings, status, owner: Uuid::new_v4() })
    }

    /// Publishes until `shutdown`, then gives the lease back. Trouble of either side is waited out.
    pub async fn run(mut self, shutdown: CancellationToken) {
        while !shutdown.is_cancelled() {
            let asked = Instant::now();
            match outbox::acquire(&self.pool, self.owner, self.settings.lease).await {
                Ok(Some(lease)) => {
                    info!(buckets = lease.buckets().len(), "lease taken");
                    self.status.leads(true);
                    let held = Held { lease, ends: asked + self.settings.lease };
                    self.lead(held, &shutdown).await;
                    self.status.leads(false);
                }
                Ok(None) => {
                    self.well();
                    wait(self.settings.pause, &shutdown).await;
                }
                Err(error) => {
                    self.trouble(format!("database: {error}"));
                    wait(self.settings.pause, &shutdown).await;
                }
            }
        }
    }

    /// Works until the lease is lost or `shutdown`.
    async fn lead(&mut self, mut held: Held, shutdown: &CancellationToken) {
        let mut idle = self.settings.shortest_idle;
        while !shutdown.is_cancelled() {
            match self.step(&mut held).await {
                Ok(Batch::Worked) => {
                    self.well();
                    idle = self.settings.shortest_idle;
                }
                Ok(Batch::Empty) => {
                    self.well();
                    wait(idle, shutdown).await;
                    idle = (idle * 2).min(self.settings.longest_idle);
                }
                Ok(Batch::Stalled) => wait(self.settings.pause, shutdown).await,
                Ok(Batch::Lost) => {
                    warn!("lease lost to another relay");
                    return;
                }
                Err(error) => {
                    self.trouble(format!("database: {error}"));
                    wait(self.settings.pause, shutdown).await;
                }
            }
        }
        match outbox::release(&self.pool, &held.lease).await {
            Ok(()) => info!("lease given back"),
            Err(error) => warn!(%error, "lease not given back, it will run out"),
        }
    }

    async fn step(&mut self, held: &mut Held) -> Result<Batch, sqlx::Error> {
        if held.ends.saturating_duration_since(Instant::now()) < self.settings.message_timeout + MARGIN {
            let asked = Instant::now();
            if !outbox::renew(&self.pool, &held.lease, self.settings.lease).await? {
                return Ok(Batch::Lost);
            }
            held.ends = asked + self.settings.lease;
        }
        let batch = oldest_per_key(outbox::claim(&self.pool, &held.lease, self.settings.per_bucket).await?);
        if batch.is_empty() {
            return Ok(Batch::Empty);
        }
        self.publish(&held.lease, batch).await
    }

    async fn publish(&mut self, lease: &Lease, batch: Vec<Row>) -> Result<Batch, sqlx::Error> {
        let outcomes = self.producer.publish(batch.iter().map(record).collect()).await;
        let mut acknowledged: Vec<RowId> = Vec::with_capacity(batch.len());
        let mut refused = None;
        let mut failure = None;
        for (row, outcome) in batch.iter().zip(outcomes) {
            match outcome {
                Ok(()) => acknowledged.push(row.row_id),
                Err(PublishError::Refused(_)) => refused = refused.or(Some(row)),
                Err(other) => failure = Some(other),
            }
        }
        if !acknowledged.is_empty() {
            let settled = outbox::settle(&self.pool, lease, &acknowledged).await?;
            if settled < acknowledged.len() as u64 {
                return Ok(Batch::Lost);
            }
        }
        // One suspect a round: the others may have been refused only for being in the same request.
        if failure.is_none()
            && let Some(row) = refused
        {
            failure = self.publish_alone(lease, row).await?;
        }
        let Some(failure) = failure else { return Ok(Batch::Worked) };
        if matches!(failure, PublishError::Fatal(_)) {
            match Producer::new(&self.kafka, "outbox-relay", self.settings.message_timeout) {
                Ok(producer) => self.producer = producer,
                Err(error) => warn!(%error, "could not build a new producer"),
            }
        }
        self.trouble(failure.to_string());
        Ok(Batch::Stalled)
    }

    /// A refusal of a record that was sent alone is its own: its key is blocked.
    async fn publish_alone(&self, lease: &Lease, row: &Row) -> Result<Option<PublishError>, sqlx::Error> {
        match self.producer.publish_one(record(row)).await {
            Ok(()) => {
                outbox::settle(&self.pool, lease, &[row.row_id]).await?;
                Ok(None)
            }
            Err(PublishError::Refused(reason)) => {
                error!(key = %row.aggregate_id, event_id = %row.event_id, reason, "Kafka refuses this event, its key is blocked");
                outbox::block(&self.pool, row, &reason).await?;
                Ok(None)
            }
            Err(other) => Ok(Some(other)),
        }
    }

    fn trouble(&self, reason: String) {
        if self.status.trouble(Some(reason.clone())) {
            warn!(reason, "cannot publish, will go on trying");
        }
    }

    fn well(&self) {
        if self.status.trouble(None) {
            info!("publishing again");
        }
    }
}

/// The first row of each key, in order.
fn oldest_per_key(rows: Vec<Row>) -> Vec<Row> {
    let mut keys = HashSet::with_capacity(rows.len());
    rows.into_iter().filter(|row| keys.insert(row.aggregate_id)).collect()
}

async fn wait(duration: Duration, shutdown: &CancellationToken) {
    tokio::select! {
        biased;
        () = shutdown.cancelled() => {}
        () = tokio::time::sleep(duration) => {}
    }
}
