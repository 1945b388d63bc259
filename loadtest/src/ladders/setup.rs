//! What ladders need beside what every stack has.

use std::time::Duration;

use anyhow::Context;
use messaging::{KafkaSettings, TopicSpec, ensure_topics};
use sqlx::PgPool;

use super::{GROUP, TOPIC};

const PARTITIONS: i32 = 6;
const RETENTION_MS: i64 = 24 * 60 * 60 * 1000;
const PATIENCE: Duration = Duration::from_secs(30);

/// Creates the topics, and the table of the ladders beside the outbox. Any number of times.
pub async fn prepare(orders: &PgPool, kafka: &KafkaSettings) -> anyhow::Result<()> {
    let topics = [TOPIC.to_owned(), format!("{TOPIC}.{GROUP}.dlq"), format!("{TOPIC}.{GROUP}.retry")];
    let topics = topics.map(|name| TopicSpec { name, partitions: PARTITIONS, retention_ms: RETENTION_MS });
    ensure_topics(kafka, &topics, PATIENCE).await?;
    // The aggregate of a rung. `last_sequence` is what the rows of orders have too.
    let table =
        "CREATE TABLE IF NOT EXISTS chaos_ladders (id uuid PRIMARY KEY, last_sequence bigint NOT NULL)";
    sqlx::query(table).execute(orders).await.context("no table for the ladders")?;
    Ok(())
}
