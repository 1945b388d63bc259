//! How a consumer runs.

use std::sync::Arc;
use std::time::Duration;

use super::HeldKeys;
use super::scheduler::Rules;
use crate::dead_letters;
use crate::metrics::ConsumerMetrics;
use crate::settings::{GuardSettings, KafkaSettings, RetrySettings};

/// A partition whose oldest unfinished record is so many offsets behind is not read further: 26 s of 10,000 records a second. Each costs
/// a bit.
const WINDOW: u32 = 1 << 18;
/// Unfinished records of a partition at which fetching pauses, at the least; `held_bytes` bounds what they weigh. What librdkafka has fetched
/// seems to be lost when a partition is paused, and the first fetch after it to wait for the one under way, for up to `fetch.wait.max.ms`:
/// inferred from what made consumers faster, not traced. So a pause has to be rare, and half of so many have to last until there is more:
/// 0.1 s of 80,000 records a second.
const HIGH: usize = 1 << 14;

/// Who deals out the partitions of a group to its members. All members of a group have to agree; a group changes over while it has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum GroupProtocol {
    /// One of the members does, cooperatively: partitions that stay where they are go on.
    #[default]
    Classic,
    /// The broker does (KIP-848). Session time-out and heartbeats are the broker's settings then.
    Consumer,
}

/// How a consumer runs.
#[derive(Clone, Debug)]
pub struct ConsumerSettings {
    /// Brokers.
    pub kafka: KafkaSettings,
    /// Consumer group; also names its dead-letter and its retry topic.
    pub group: &'static str,
    /// Topics to read.
    pub topics: Vec<String>,
    /// Who deals out the partitions.
    pub protocol: GroupProtocol,
    /// Keeps the order of a key beyond a dead letter: what comes behind it follows it, and comes back in order. `None`: the order ends there, and what
    /// comes behind it is handled, which is right for events that commute.
    pub held_keys: Option<Arc<dyn HeldKeys>>,
    /// Backoff and attempts.
    pub retry: RetrySettings,
    /// When to give up on handlers and on the stream.
    pub guard: GuardSettings,
    /// Messages in the hands of the handler at a time, over all partitions. More hide a slow dependency's latency; each takes what one
    /// call of the handler takes.
    pub in_flight: usize,
    /// Most records in a batch, for a batch handler.
    pub batch_records: usize,
    /// Most bytes in a batch, for a batch handler; a record that is larger is a batch of its own.
    pub batch_bytes: usize,
    /// Bytes of records in memory, over all partitions; beyond it fetching pauses until half of it is done, also if all of them wait for one key. librdkafka's own buffer of 4 MiB comes on
    /// top.
    pub held_bytes: usize,
    /// How long running handlers may take to finish when partitions are lost. Below the broker's session timeout.
    pub drain: Duration,
    /// What it counts.
    pub metrics: ConsumerMetrics,
}

impl ConsumerSettings {
    /// A consumer of `topic`, and of what comes back from its dead letters, in `group`, with defaults for the rest: 256 messages in flight, batches of up to 500 records and 4 MiB, 12 MiB held, 4 s to
    /// drain.
    pub fn new(kafka: KafkaSettings, retry: RetrySettings, group: &'static str, topic: &str) -> Self {
        Self {
            kafka,
            group,
            topics: vec![topic.to_owned(), dead_letters::retry_topic(topic, group)],
            protocol: GroupProtocol::default(),
            held_keys: None,
            retry,
            guard: GuardSettings::default(),
            in_flight: 256,
            batch_records: 500,
            batch_bytes: 4 << 20,
            held_bytes: 12 << 20,
            drain: Duration::from_secs(4),
            metrics: ConsumerMetrics::new(group),
        }
    }

    pub(super) fn rules(&self, runs: usize, run_records: usize) -> Rules {
        // Enough to fill every run from a single partition while others of its keys wait.
        let high = (4 * runs.max(1) * run_records.max(1)).max(HIGH);
        Rules {
            retry: self.retry.clone(),
            runs: runs.max(1),
            run_records: run_records.max(1),
            run_bytes: self.batch_bytes,
            high,
            low: high / 2,
            held_bytes: self.held_bytes,
            window: WINDOW,
            dead_letters_per_minute: self.guard.dead_letters_per_minute,
        }
    }
}
