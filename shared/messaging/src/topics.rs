//! Creating topics.

use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::admin::{
    AdminClient, AdminOptions, ConfigResource, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::aside::Aside;
use crate::settings::KafkaSettings;

/// Between two attempts, while the cluster has too few brokers.
const PAUSE: Duration = Duration::from_millis(250);

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

/// How long a topic keeps records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicRetention {
    /// Its name.
    pub topic: String,
    /// Kafka's `retention.ms`; `None`: for ever.
    pub retention: Option<Duration>,
    /// Kafka's `segment.ms`. A record may outlive the retention by so much: only whole segments are removed, and one that is still
    /// written to is not.
    pub segment: Duration,
}

/// Why the topics could not be made, or asked about.
#[derive(Debug, thiserror::Error)]
pub enum TopicsError {
    /// No answer, or no permission.
    #[error("Kafka did not create the topics: {0}")]
    Kafka(#[from] KafkaError),
    /// A setting of a topic that Kafka did not tell.
    #[error("topic {name}: Kafka does not tell its {setting}")]
    Untold {
        /// The topic.
        name: String,
        /// The setting.
        setting: &'static str,
    },
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
    let admin = admin(settings)?;
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
    let deadline = Instant::now() + timeout;
    let mut created = Vec::new();
    let existing = loop {
        let (mut existing, mut all) = (Vec::new(), true);
        for outcome in admin.create_topics(&wanted, &options).await? {
            match outcome {
                Ok(name) => created.push(name),
                Err((name, RDKafkaErrorCode::TopicAlreadyExists)) if created.contains(&name) => {}
                Err((name, RDKafkaErrorCode::TopicAlreadyExists)) => existing.push(name),
                Err((name, code)) => {
                    // Also said while a cluster has lost sight of its brokers, as it does for some seconds when they start.
                    if code != RDKafkaErrorCode::InvalidReplicationFactor || Instant::now() > deadline {
                        return Err(TopicsError::Refused { name, reason: code.to_string() });
                    }
                    all = false;
                }
            }
        }
        if all {
            break existing;
        }
        tokio::time::sleep(PAUSE).await;
    };
    if !existing.is_empty() {
        let checked = topics.to_vec();
        tokio::task::spawn_blocking(move || check_partitions(&admin, &checked, &existing, timeout))
            .await
            .map_err(|_| KafkaError::Canceled)??;
    }
    Ok(created)
}

/// How long the topics keep records, in the order in which they are named. Waits at most `timeout`.
pub async fn topic_retention(
    settings: &KafkaSettings,
    topics: &[&str],
    timeout: Duration,
) -> Result<Vec<TopicRetention>, TopicsError> {
    let admin = admin(settings)?;
    let asked: Vec<ResourceSpecifier<'_>> =
        topics.iter().map(|name| ResourceSpecifier::Topic(name)).collect();
    let options = AdminOptions::new().operation_timeout(Some(timeout)).request_timeout(Some(timeout));
    let answers = admin.describe_configs(&asked, &options).await?;
    topics
        .iter()
        .zip(answers)
        .map(|(name, answer)| {
            let refused = |code: RDKafkaErrorCode| TopicsError::Refused {
                name: (*name).to_owned(),
                reason: code.to_string(),
            };
            let config = answer.map_err(refused)?;
            let retention = milliseconds(name, &config, "retention.ms")?;
            let segment = milliseconds(name, &config, "segment.ms")?;
            Ok(TopicRetention {
                topic: (*name).to_owned(),
                retention: u64::try_from(retention).ok().map(Duration::from_millis),
                segment: Duration::from_millis(u64::try_from(segment).unwrap_or_default()),
            })
        })
        .collect()
}

fn admin(settings: &KafkaSettings) -> Result<Aside<AdminClient<DefaultClientContext>>, KafkaError> {
    Ok(Aside::new(ClientConfig::new().set("bootstrap.servers", &settings.brokers).create()?))
}

fn milliseconds(topic: &str, config: &ConfigResource, setting: &'static str) -> Result<i64, TopicsError> {
    config
        .get(setting)
        .and_then(|entry| entry.value.as_ref()?.parse().ok())
        .ok_or_else(|| TopicsError::Untold { name: topic.to_owned(), setting })
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
