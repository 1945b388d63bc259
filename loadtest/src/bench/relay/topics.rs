//! Topics, and how many records are on them.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use messaging::{KafkaSettings, TopicSpec, ensure_topics};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

/// Partitions of every topic.
pub(super) const PARTITIONS: i32 = 8;
const RETENTION_MS: i64 = 24 * 60 * 60 * 1000;
const PATIENCE: Duration = Duration::from_secs(30);

/// Makes topics, each under a name of its own, and counts what is on them.
pub(super) struct Topics {
    kafka: KafkaSettings,
    consumer: Arc<BaseConsumer>,
    made: u32,
}

impl Topics {
    /// Connects in the background.
    pub(super) fn new(kafka: &KafkaSettings) -> anyhow::Result<Self> {
        let consumer = ClientConfig::new()
            .set("bootstrap.servers", &kafka.brokers)
            .set("group.id", "bench-observer")
            .set("enable.auto.commit", "false")
            .create()?;
        Ok(Self { kafka: kafka.clone(), consumer: Arc::new(consumer), made: 0 })
    }

    /// A new topic, with nothing on it.
    pub(super) async fn create(&mut self, part: &str) -> anyhow::Result<String> {
        self.made += 1;
        let name = format!("bench.{part}.{}", self.made);
        let spec = TopicSpec { name: name.clone(), partitions: PARTITIONS, retention_ms: RETENTION_MS };
        ensure_topics(&self.kafka, &[spec], PATIENCE).await?;
        Ok(name)
    }

    /// How many records are on `topic`: one question to the broker.
    pub(super) async fn records(&self, topic: &str) -> anyhow::Result<u64> {
        // By time, as which `End` asks for the end. Asking for watermarks would be two questions for each partition.
        let mut ends = TopicPartitionList::new();
        for partition in 0..PARTITIONS {
            ends.add_partition_offset(topic, partition, Offset::End)?;
        }
        let consumer = self.consumer.clone();
        let asked = tokio::task::spawn_blocking(move || consumer.offsets_for_times(ends, PATIENCE)).await?;
        let mut sum = 0;
        for partition in asked.with_context(|| format!("the ends of {topic}"))?.elements() {
            partition.error()?;
            if let Offset::Offset(end) = partition.offset() {
                sum += u64::try_from(end)?;
            }
        }
        Ok(sum)
    }
}
