//! Events at a steady rate, whatever becomes of those before them: to the outbox, or straight to Kafka.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use futures::future::{join_all, try_join_all};
use messaging::Producer;
use sqlx::PgPool;
use tokio::time::{sleep_until, timeout};

use super::event::{Event, SOURCE, TYPE};

/// How long the last events may take after they were due.
const PATIENCE: Duration = Duration::from_secs(60);

/// When the events are due.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schedule {
    pub(super) start: Instant,
    pub(super) per_second: u32,
}

impl Schedule {
    /// When number `index` is due.
    pub(super) fn due(&self, index: usize) -> Instant {
        self.start + Duration::from_secs_f64(index as f64 / f64::from(self.per_second))
    }
}

/// What became of one event.
#[derive(Clone, Copy, Debug)]
pub(super) struct Written {
    /// Which it is.
    pub(super) index: usize,
    /// From when it was due to when it was handed over.
    pub(super) late: Duration,
    /// From when on a reader may have it: for a row when the answer to its `INSERT` arrived, for a record when it was handed to the producer.
    pub(super) at: Instant,
}

/// Inserts each event by a transaction of its own, by as many connections as the pool has.
pub(super) async fn rows(
    pool: &PgPool,
    topic: &str,
    events: &Arc<Vec<Event>>,
    schedule: Schedule,
) -> anyhow::Result<Vec<Written>> {
    let next = Arc::new(AtomicUsize::new(0));
    let writers = (0..pool.options().get_max_connections()).map(|_| {
        let (pool, topic, events, next) = (pool.clone(), topic.to_owned(), events.clone(), next.clone());
        // Tasks, so that they run on all threads.
        let task = tokio::spawn(async move { writer(&pool, &topic, &events, schedule, &next).await });
        async move { task.await? }
    });
    let patience = schedule.due(events.len()).saturating_duration_since(Instant::now()) + PATIENCE;
    let written = timeout(patience, try_join_all(writers)).await.context("the rows take too long")??;
    Ok(written.into_iter().flatten().collect())
}

async fn writer(
    pool: &PgPool,
    topic: &str,
    events: &[Event],
    schedule: Schedule,
    next: &AtomicUsize,
) -> anyhow::Result<Vec<Written>> {
    let mut connection = pool.acquire().await?;
    let mut written = Vec::with_capacity(events.len());
    loop {
        // Whoever is free takes the next one, so that a slow commit delays no other.
        let index = next.fetch_add(1, Ordering::Relaxed);
        let Some(event) = events.get(index) else { break };
        let due = schedule.due(index);
        sleep_until(due.into()).await;
        let late = due.elapsed();
        sqlx::query(
            "INSERT INTO outbox (topic, aggregate_id, sequence, event_id, event_type, source, payload)
             VALUES ($1, $2, $3, $4, $5, $6, $7::text::json)",
        )
        .bind(topic)
        .bind(event.key)
        .bind(event.sequence)
        .bind(event.id)
        .bind(TYPE)
        .bind(SOURCE)
        .bind(&event.payload)
        .execute(&mut *connection)
        .await?;
        written.push(Written { index, late, at: Instant::now() });
    }
    Ok(written)
}

/// Sends each event's record, and waits for the acknowledgements at the end only.
pub(super) async fn records(
    producer: &Producer,
    topic: &str,
    events: &[Event],
    schedule: Schedule,
) -> anyhow::Result<Vec<Written>> {
    let (mut written, mut deliveries) = (Vec::with_capacity(events.len()), Vec::with_capacity(events.len()));
    for (index, event) in events.iter().enumerate() {
        let record = event.record(topic);
        let due = schedule.due(index);
        if Instant::now() < due {
            sleep_until(due.into()).await;
        }
        let at = Instant::now();
        deliveries.push(producer.send(record));
        written.push(Written { index, late: at.saturating_duration_since(due), at });
    }
    for outcome in timeout(PATIENCE, join_all(deliveries)).await.context("the records take too long")? {
        outcome?;
    }
    Ok(written)
}
