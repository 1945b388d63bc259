//! The relay that one would write first: the oldest row is read, published, removed, and then the next one. Each removal is a commit that
//! waits for the disk, as commits do by default.

use std::time::{Duration, Instant};

use anyhow::Context;
use messaging::{OutgoingRecord, Producer};
use sqlx::PgPool;
use tokio::time::timeout;
use uuid::Uuid;

use super::Bench;

const PATIENCE: Duration = Duration::from_secs(300);

/// Its rows per second.
pub(super) async fn measure(bench: &mut Bench<'_>) -> anyhow::Result<f64> {
    let rows = bench.sizes.one_by_one;
    let topic = bench.topics.create("one-by-one").await?;
    // The first one gets to know the topic, and is not counted.
    bench.outbox.fill(&topic, rows + 1).await?;
    let kafka = &bench.settings.common.kafka;
    let producer = Producer::with_linger(kafka, "bench-one-by-one", PATIENCE, Duration::ZERO)?;
    let work = async {
        one(bench.outbox.pool(), &producer).await?;
        let began = Instant::now();
        for _ in 0..rows {
            one(bench.outbox.pool(), &producer).await?;
        }
        anyhow::Ok(rows as f64 / began.elapsed().as_secs_f64())
    };
    let rate =
        timeout(PATIENCE, work).await.context("the relay that sends one row at a time takes too long")??;
    bench.arrived(&topic, rows + 1).await?;
    bench.outbox.clear().await?;
    Ok(rate)
}

type Row = (i16, i64, String, Uuid, i64, Uuid, String, String, String);

async fn one(pool: &PgPool, producer: &Producer) -> anyhow::Result<()> {
    let mut transaction = pool.begin().await?;
    // By the one index that there is.
    let (bucket, id, topic, key, sequence, event, r#type, source, payload): Row = sqlx::query_as(
        "SELECT bucket, id, topic, aggregate_id, sequence, event_id, event_type, source, payload::text
         FROM outbox ORDER BY bucket, id LIMIT 1 FOR UPDATE",
    )
    .fetch_one(&mut *transaction)
    .await?;
    let record = OutgoingRecord::new(topic, key.to_string(), payload)
        .header("ce_id", &event.to_string())
        .header("ce_type", &r#type)
        .header("ce_source", &source)
        .header("ce_sequence", &sequence.to_string());
    producer.publish_one(record).await?;
    sqlx::query("DELETE FROM outbox WHERE bucket = $1 AND id = $2")
        .bind(bucket)
        .bind(id)
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok(())
}
