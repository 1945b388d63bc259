//! Creating topics.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::settings::KafkaSettings;

/// A topic as it has to exist.
#[derive(Clone, Debug)]
pub struct TopicSpec {
    /// Name.
    pub name: String,
    /// Number of partitions.
    pub partitions: i32,
    /// How long records are kept, in milliseconds.
    pub retention_ms: i64,
}

/// Why the topics could not be made.
#[derive(Debug, thiserror::Error)]
pub enum TopicsError {
    /// No answer, or no permission.
    #[error("Kafka did not create the topics: {0}")]
    Kafka(#[from] KafkaError),
    /// One topic was refused.
    #[error("topic {name}: {reason}")]
    Refused {
        /// The topic.
        name: String,
        /// What the broker said.
        reason: String,
    },
    /// A topic exists with another number of partitions: changing it would move keys.
    #[error("topic {name} has {found} partitions, expected {expected}")]
    PartitionsDiffer {
        /// The topic.
        name: String,
        /// How many it has.
        found: usize,
        /// How many the list says.
        expected: i32,
    },
}

/// Creates the topics that are missing and checks the number of partitions of the others; returns the names created.
/// Waits at most `timeout` for each answer.
pub async fn ensure_topics(
    settings: &KafkaSettings,
    topics: &[TopicSpec],
    timeout: Duration,
) -> Result<Vec<String>, TopicsError> {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", &settings.brokers).create()?;
    let retentions: Vec<String> = topics.iter().map(|topic| topic.retention_ms.to_string()).collect();
    let wanted: Vec<NewTopic<'_>> = topics
        .iter()
        .zip(&retentions)
        .map(|(topic, retention)| {
            // -1: as many replicas as the cluster's default says.
            NewTopic::new(&topic.name, topic.partitions, TopicReplication::Fixed(-1))
                .set("retention.ms", retention)
        })
        .collect();
    let options = AdminOptions::new().operation_timeout(Some(timeout)).request_timeout(Some(timeout));
    let mut created = Vec::new();
    let mut existing = Vec::new();
    for outcome in admin.create_topics(&wanted, &options).await? {
        match outcome {
            Ok(name) => created.push(name),
            Err((name, RDKafkaErrorCode::TopicAlreadyExists)) => existing.push(name),
            Err((name, code)) => return Err(TopicsError::Refused { name, reason: code.to_string() }),
        }
    }
    if !existing.is_empty() {
        let checked = topics.to_vec();
        tokio::task::spawn_blocking(move || check_partitions(&admin, &checked, &existing, timeout))
            .await
            .map_err(|_| KafkaError::Canceled)??;
    }
    Ok(created)
}

fn check_partitions(
    admin: &AdminClient<DefaultClientContext>,
    topics: &[TopicSpec],
    existing: &[String],
    timeout: Duration,
) -> Result<(), TopicsError> {
    let metadata = admin.inner().fetch_metadata(None, timeout)?;
    for topic in topics.iter().filter(|topic| existing.contains(&topic.name)) {
        let found = metadata
            .topics()
            .iter()
            .find(|known| known.name() == topic.name)
            .map_or(0, |known| known.partitions().len());
        if found != usize::try_from(topic.partitions).unwrap_or_default() {
            return Err(TopicsError::PartitionsDiffer {
                name: topic.name.clone(),
                found,
                expected: topic.partitions,
            });
        }
    }
    Ok(())
}
