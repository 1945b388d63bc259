//! `ops topics`.

use std::time::Duration;

use messaging::{KafkaSettings, TopicSpec, ensure_topics};

const PATIENCE: Duration = Duration::from_secs(15);

pub(crate) async fn create(kafka: &KafkaSettings) -> anyhow::Result<()> {
    let topics: Vec<TopicSpec> = contracts::topics::all()?
        .into_iter()
        .map(|topic| TopicSpec {
            name: topic.name,
            partitions: topic.partitions,
            retention_ms: topic.retention_ms,
        })
        .collect();
    let created = ensure_topics(kafka, &topics, PATIENCE).await?;
    println!("{} topics exist, {} of them new", topics.len(), created.len());
    Ok(())
}
