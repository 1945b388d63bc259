//! What every part needs: topics of its own, and records on them.

use std::time::Duration;

use anyhow::Context;
use chrono::Utc;
use messaging::consumer::ConsumerSettings;
use messaging::{
    KafkaSettings, OutgoingRecord, Producer, RetrySettings, TopicSpec, dead_letters, ensure_topics,
};

use super::super::Common;
use crate::usage::Watched;

/// What servers may take for an answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
/// Nobody reads the topics again.
const RETENTION_MS: i64 = 60 * 60 * 1000;
/// Records that are on their way to Kafka at a time.
const ON_THE_WAY: usize = 5_000;

pub(super) struct Stage {
    pub(super) quick: bool,
    pub(super) database_url: String,
    pub(super) producer: Producer,
    /// This process and Kafka.
    pub(super) watched: Watched,
    /// These and PostgreSQL.
    pub(super) watched_with_postgres: Watched,
    kafka: KafkaSettings,
    /// Tells the topics of this run from those of others.
    run: i64,
}

impl Stage {
    pub(super) fn new(common: &Common) -> anyhow::Result<Self> {
        let own = i32::try_from(std::process::id())?;
        let watched = Watched::default().process("consumer", own).process("kafka", common.kafka_pid);
        Ok(Self {
            quick: common.output.quick,
            database_url: common.orders.orders_database_url.clone(),
            producer: Producer::new(&common.kafka, "bench", PATIENCE)?,
            watched_with_postgres: watched.clone().family("postgres", common.postgres_pid),
            watched,
            kafka: common.kafka.clone(),
            run: Utc::now().timestamp_millis(),
        })
    }

    /// `full`, or `quick` in the short form.
    pub(super) fn size<T>(&self, full: T, quick: T) -> T {
        if self.quick { quick } else { full }
    }

    /// A fresh topic, and what the group needs beside it.
    pub(super) async fn topic(&self, part: &str, group: &str, partitions: i32) -> anyhow::Result<String> {
        let name = format!("bench.consumer.{}.{part}", self.run);
        let spec = |name: String, partitions| TopicSpec { name, partitions, retention_ms: RETENTION_MS };
        let (letters, retries) = (dead_letters::topic(&name, group), dead_letters::retry_topic(&name, group));
        let topics = [spec(name.clone(), partitions), spec(letters, 1), spec(retries, 1)];
        ensure_topics(&self.kafka, &topics, PATIENCE).await?;
        Ok(name)
    }

    /// What a service's consumer is set to by default.
    pub(super) fn consumer(&self, group: &'static str, topic: &str) -> ConsumerSettings {
        let retry = RetrySettings {
            retry_max_attempts: 5,
            retry_base: Duration::from_secs(1),
            retry_cap: Duration::from_secs(8),
        };
        ConsumerSettings::new(self.kafka.clone(), retry, group, topic)
    }

    /// Puts records on their topic, and waits until all are there.
    pub(super) async fn publish(
        &self,
        mut records: impl Iterator<Item = OutgoingRecord>,
    ) -> anyhow::Result<()> {
        loop {
            let some: Vec<_> = records.by_ref().take(ON_THE_WAY).collect();
            if some.is_empty() {
                return Ok(());
            }
            for outcome in self.producer.publish(some).await {
                outcome.context("a record did not get onto its topic")?;
            }
        }
    }
}
