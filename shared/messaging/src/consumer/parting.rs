//! The last words to the broker, before partitions are given up and before the group is left.
//!
//! Without a coordinator librdkafka holds on to them for as long as a session lasts: 6 s, or 45 s under KIP-848. Nobody who stops has that
//! much time, so we wait for less. The thread that waits on ends by itself, or with the process.

use std::sync::{Arc, OnceLock, Weak, mpsc};
use std::time::Duration;

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::KafkaError;
use tracing::warn;

use super::context::Context;

/// With these two and the drain (4 s) a stop stays below the 10 s that a supervisor grants.
const COMMIT: Duration = Duration::from_secs(2);
const LEAVE: Duration = Duration::from_secs(2);

/// The consumer itself, for its own callbacks. Set once it is there.
pub(super) type Itself = OnceLock<Weak<BaseConsumer<Context>>>;

/// Why it is unknown whether offsets were committed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Uncommitted {
    #[error(transparent)]
    Refused(KafkaError),
    #[error("Kafka did not answer within {COMMIT:?}")]
    Silence,
    #[error("the consumer is going down")]
    Gone,
}

/// Commits and waits for the answer. One that comes too late does no harm: at worst others' records are delivered again.
pub(super) fn commit(itself: &Itself, offsets: TopicPartitionList) -> Result<(), Uncommitted> {
    let consumer = itself.get().and_then(Weak::upgrade).ok_or(Uncommitted::Gone)?;
    let committed = within(COMMIT, "kafka-commit", move || {
        let committed = consumer.commit(&offsets, CommitMode::Sync);
        // Not held any longer when the answer is there: whoever drops the consumer last leaves the group.
        drop(consumer);
        committed
    });
    committed.ok_or(Uncommitted::Silence)?.map_err(Uncommitted::Refused)
}

/// Leaves the group.
pub(super) fn leave(consumer: Arc<BaseConsumer<Context>>) {
    if within(LEAVE, "kafka-leave", move || drop(consumer)).is_none() {
        warn!("Kafka did not confirm in time that the group is left, the session has to run out");
    }
}

/// The result of `work`, unless it takes longer.
fn within<T: Send + 'static>(
    limit: Duration,
    thread: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (sender, result) = mpsc::channel();
    std::thread::Builder::new().name(thread.to_owned()).spawn(move || sender.send(work()).ok()).ok()?;
    result.recv_timeout(limit).ok()
}
