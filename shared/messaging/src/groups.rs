//! A consumer group, seen and changed from outside.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tokio::sync::oneshot;

use crate::settings::KafkaSettings;

/// Why a group could not be asked or changed.
#[derive(Debug, thiserror::Error)]
pub enum GroupError {
    /// The broker did not answer, or refused.
    #[error("Kafka: {0}")]
    Kafka(#[from] KafkaError),
    /// The broker did not answer in time.
    #[error("Kafka did not answer within {0:?}")]
    Silence(Duration),
    /// Offsets belong to the members as long as there are any.
    #[error("group {0} has members, its offsets can be altered only while it has none")]
    HasMembers(String),
}

/// How many consumers are members of the group at this moment. A member that was killed counts until its session times out. Members under the
/// protocol of KIP-848 are not seen: librdkafka asks for the classic ones; [`commit`] is refused there all the same.
pub async fn members(settings: &KafkaSettings, group: &str, timeout: Duration) -> Result<usize, GroupError> {
    let (consumer, name) = (observer(settings, group)?, group.to_owned());
    within(timeout, move || {
        let found = consumer.fetch_group_list(Some(&name), timeout)?;
        Ok(found
            .groups()
            .iter()
            .filter(|known| known.name() == name)
            .map(|known| known.members().len())
            .sum())
    })
    .await
}

/// Sets what `group` reads next on `topic`: pairs of partition and offset. Partitions that are not named stay as they are. Refused while
/// the group has members.
pub async fn commit(
    settings: &KafkaSettings,
    group: &str,
    topic: &str,
    offsets: &[(i32, i64)],
    timeout: Duration,
) -> Result<(), GroupError> {
    if members(settings, group, timeout).await? > 0 {
        return Err(GroupError::HasMembers(group.to_owned()));
    }
    let mut list = TopicPartitionList::new();
    for (partition, offset) in offsets {
        list.add_partition_offset(topic, *partition, Offset::Offset(*offset))?;
    }
    let consumer = observer(settings, group)?;
    let committed = within(timeout, move || Ok(consumer.commit(&list, CommitMode::Sync)?)).await;
    match committed {
        // Somebody joined in between; the broker knows better than the look above.
        Err(GroupError::Kafka(error)) if is_refused(&error) => Err(GroupError::HasMembers(group.to_owned())),
        other => other,
    }
}

fn is_refused(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::UnknownMemberId
                | RDKafkaErrorCode::StaleMemberEpoch
                | RDKafkaErrorCode::IllegalGeneration
                | RDKafkaErrorCode::RebalanceInProgress
        )
    )
}

/// Speaks for the group without being a member.
fn observer(settings: &KafkaSettings, group: &str) -> Result<BaseConsumer, KafkaError> {
    ClientConfig::new()
        .set("bootstrap.servers", &settings.brokers)
        .set("group.id", group)
        .set("enable.auto.commit", "false")
        .create()
}

/// librdkafka blocks, and not every call of it takes a time-out: a thread of its own, so that a broker that does not answer cannot hold the
/// process at its exit.
async fn within<T: Send + 'static>(
    timeout: Duration,
    work: impl FnOnce() -> Result<T, GroupError> + Send + 'static,
) -> Result<T, GroupError> {
    let (sender, answer) = oneshot::channel();
    std::thread::spawn(move || sender.send(work()).ok());
    match tokio::time::timeout(timeout, answer).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) => Err(KafkaError::Canceled.into()),
        Err(_) => Err(GroupError::Silence(timeout)),
    }
}
