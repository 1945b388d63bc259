//! Events into Postgres, a transaction for each batch, beside the same transactions without Kafka.

mod store;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use chrono::Utc;
use contracts::{Envelope, Money, OrderCreated, OrderLine, decode_order_created};
use messaging::OutgoingRecord;
use messaging::consumer::{Answer, BatchHandler, Delivered};
use uuid::Uuid;

use self::store::Store;
use super::super::progress;
use super::super::report::{Figure, Spent, Unit};
use super::clock::Clock;
use super::member::Member;
use super::stage::Stage;

const GROUP: &str = "bench-batches";
const PARTITIONS: i32 = 4;
/// What the consumer's default is, and so the size of the transactions of the loop.
const BATCH: usize = 500;
/// The middle one of so many, the loop and the consumer in turns.
const ROUNDS: usize = 3;
const LIMIT: Duration = Duration::from_secs(120);

type Event = Envelope<OrderCreated>;

struct Outcome {
    rows_per_second: f64,
    spent: Spent,
}

pub(super) async fn measure(stage: &Stage) -> anyhow::Result<Vec<Figure>> {
    let rows = stage.size(100_000, 2_000);
    let store = Store::create(&stage.database_url).await?;
    let measured = rounds(stage, &store, rows).await;
    let dropped = store.remove().await;
    let (consumer, plain) = measured?;
    dropped?;
    let plain_rate = plain.rows_per_second;
    Ok(vec![
        Figure::new(format!("{rows} rows, batches from Kafka"), Unit::PerSecond, consumer.rows_per_second)
            .against("the same transactions in a loop", plain_rate)
            .used(&consumer.spent),
        Figure::new(format!("{rows} rows, in a loop without Kafka"), Unit::PerSecond, plain_rate)
            .used(&plain.spent),
    ])
}

async fn rounds(stage: &Stage, store: &Store, rows: usize) -> anyhow::Result<(Outcome, Outcome)> {
    let (mut consumers, mut loops) = (Vec::new(), Vec::new());
    for round in 0..stage.size(ROUNDS, 1) {
        progress(format!("batches: {rows} rows in a loop"));
        loops.push(plain(stage, store, rows).await?);
        progress(format!("batches: {rows} rows by the consumer"));
        consumers.push(consume(stage, store, rows, round).await?);
    }
    Ok((middle(consumers), middle(loops)))
}

fn middle(mut outcomes: Vec<Outcome>) -> Outcome {
    outcomes.sort_by(|a, b| a.rows_per_second.total_cmp(&b.rows_per_second));
    let middle = outcomes.len() / 2;
    outcomes.swap_remove(middle)
}

/// The events are in memory, and already decoded.
async fn plain(stage: &Stage, store: &Store, rows: usize) -> anyhow::Result<Outcome> {
    store.empty().await?;
    let events: Vec<Event> = (0..rows).map(event).collect::<Result<_, _>>()?;
    let before = stage.watched_with_postgres.read()?;
    let began = Instant::now();
    for batch in events.chunks(BATCH) {
        let batch: Vec<&Event> = batch.iter().collect();
        tokio::time::timeout(LIMIT, store.apply(&batch)).await??;
    }
    let rows_per_second = rows as f64 / began.elapsed().as_secs_f64();
    let spent = stage.watched_with_postgres.since(&before, rows as u64)?;
    store.check(rows).await?;
    Ok(Outcome { rows_per_second, spent })
}

/// From the first batch in the handler to the commit of the last one.
async fn consume(stage: &Stage, store: &Store, rows: usize, round: usize) -> anyhow::Result<Outcome> {
    store.empty().await?;
    let topic = stage.topic(&format!("batches-{round}"), GROUP, PARTITIONS).await?;
    let records: Vec<OutgoingRecord> =
        (0..rows).map(|i| record(&topic, &event(i)?)).collect::<anyhow::Result<_>>()?;
    stage.publish(records.into_iter()).await?;
    let clock = Arc::new(Clock::new(stage.watched_with_postgres.clone(), rows));
    let batches = Arc::new(AtomicU64::new(0));
    let handler = Applying { store: store.clone(), clock: clock.clone(), batches: batches.clone() };
    let mut member = Member::batching(stage.consumer(GROUP, &topic), decode_order_created, handler);
    let (took, spent) = member.until(LIMIT, clock.over()).await?;
    member.leave().await?;
    store.check(rows).await?;
    progress(format!("batches: {} transactions for {rows} rows", batches.load(Ordering::Relaxed)));
    Ok(Outcome { rows_per_second: rows as f64 / took.as_secs_f64(), spent })
}

/// As a shop makes them: an order with one to three lines. Ids are new in each round.
fn event(i: usize) -> anyhow::Result<Event> {
    let line = |line: usize| -> anyhow::Result<OrderLine> {
        let (product_id, price) = (i32::try_from((i + 7 * line) % 1_000)?, i64::try_from(100 + i % 10_000)?);
        Ok(OrderLine {
            product_id,
            quantity: 1 + i32::try_from(line)?,
            unit_price: Money::from_cents(price)?,
        })
    };
    let items = (0..1 + i % 3).map(line).collect::<anyhow::Result<Vec<_>>>()?;
    let total = items.iter().try_fold(Money::ZERO, |sum, line| {
        sum.checked_add(line.unit_price.checked_mul(line.quantity.into())?)
    })?;
    let order = OrderCreated {
        order_id: Uuid::now_v7(),
        user_id: i64::try_from(i)?,
        email: format!("customer-{i}@example.com"),
        phone: format!("+49151{i:08}"),
        items,
        total,
    };
    Ok(order.into_event(Utc::now()))
}

fn record(topic: &str, event: &Event) -> anyhow::Result<OutgoingRecord> {
    Ok(OutgoingRecord::new(topic, event.aggregate_id.to_string(), serde_json::to_vec(event)?))
}

struct Applying {
    store: Store,
    clock: Arc<Clock>,
    batches: Arc<AtomicU64>,
}

impl BatchHandler for Applying {
    type Event = Event;

    async fn handle_batch(&self, batch: &[Delivered<Event>]) -> Answer {
        self.clock.start();
        let events: Vec<&Event> = batch.iter().map(|one| &one.event).collect();
        match self.store.apply(&events).await {
            Ok(()) => {
                self.batches.fetch_add(1, Ordering::Relaxed);
                self.clock.done(events.len(), Instant::now());
                Answer::Ok
            }
            // Nothing is wrong with any of these records; the wait for them has a bound.
            Err(error) => Answer::Unavailable(error.to_string()),
        }
    }
}
