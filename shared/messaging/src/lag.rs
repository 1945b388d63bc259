//! How far a group is behind, as the broker sees it: also while it is paused, waits for a dependency, or has no other member.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{Message, Timestamp};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::offsets::next_offset;
use crate::settings::KafkaSettings;

/// Between two looks.
const EVERY: Duration = Duration::from_secs(5);
/// How long the broker may take for an answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// So many looks in a row that bring nothing are a trouble; fewer are a broker that has something else to do.
const MISSED: u32 = 3;
/// How soon the end is noticed.
const NAP: Duration = Duration::from_millis(100);

/// What a group has still to do on a partition.
#[derive(Clone, Debug, PartialEq)]
pub struct PartitionLag {
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// Records that the group has not committed.
    pub records: i64,
    /// How long ago the first of them was written, in seconds; `None` if it could not be read.
    pub seconds: Option<f64>,
}

/// What was seen last; empty once the broker has not answered for some looks.
#[derive(Clone, Debug, Default)]
pub struct Lag(Arc<Mutex<Vec<PartitionLag>>>);

impl Lag {
    /// Every partition of every topic.
    pub fn partitions(&self) -> Vec<PartitionLag> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, partitions: Vec<PartitionLag>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = partitions;
    }
}

/// Looks every 5 s how far `group` is behind on `topics`, until `shutdown`. Returns at once; the looking is done on a thread of its own, for which
/// nobody waits: librdkafka blocks.
pub fn watch(
    kafka: &KafkaSettings,
    group: &str,
    topics: &[String],
    lag: Lag,
    shutdown: CancellationToken,
) -> Result<(), KafkaError> {
    let probe = Probe::new(kafka, group, topics)?;
    let spawned = std::thread::Builder::new().name("kafka-lag".to_owned()).spawn(move || {
        let mut missed = 0;
        while !shutdown.is_cancelled() {
            match probe.look(&lag.partitions()) {
                Ok(seen) => {
                    if missed >= MISSED {
                        info!("how far the group is behind can be seen again");
                    }
                    missed = 0;
                    lag.set(seen);
                }
                Err(error) => {
                    missed += 1;
                    if missed == MISSED {
                        warn!(%error, "how far the group is behind cannot be seen");
                        lag.set(Vec::new());
                    }
                }
            }
            let next = Instant::now() + EVERY;
            while Instant::now() < next && !shutdown.is_cancelled() {
                std::thread::sleep(NAP);
            }
        }
    });
    spawned.map(drop).map_err(|_| KafkaError::Canceled)
}

/// Speaks for the group without being a member.
struct Probe {
    consumer: BaseConsumer,
    topics: Vec<String>,
}

impl Probe {
    fn new(kafka: &KafkaSettings, group: &str, topics: &[String]) -> Result<Self, KafkaError> {
        let consumer = ClientConfig::new()
            .set("bootstrap.servers", &kafka.brokers)
            .set("group.id", group)
            .set("client.id", "lag")
            .set("enable.auto.commit", "false")
            .set("auto.offset.reset", "earliest")
            // One record is wanted of each partition.
            .set("fetch.message.max.bytes", "16384")
            .set("queued.max.messages.kbytes", "256")
            .set("reconnect.backoff.max.ms", "1000")
            .create()?;
        Ok(Self { consumer, topics: topics.to_vec() })
    }

    /// `before`: what was seen last. An age that cannot be read now is what it was.
    fn look(&self, before: &[PartitionLag]) -> Result<Vec<PartitionLag>, KafkaError> {
        let committed = self.consumer.committed_offsets(self.partitions()?, PATIENCE)?;
        let (mut all, mut first) = (Vec::new(), TopicPartitionList::new());
        for element in committed.elements() {
            let (topic, partition) = (element.topic(), element.partition());
            let watermarks = self.consumer.fetch_watermarks(topic, partition, PATIENCE)?;
            let next = next_offset(offset(element.offset()), watermarks);
            let records = (watermarks.1 - next).max(0);
            if records > 0 {
                first.add_partition_offset(topic, partition, Offset::Offset(next))?;
            }
            let seconds = (records == 0).then_some(0.0);
            all.push(PartitionLag { topic: topic.to_owned(), partition, records, seconds });
        }
        let ages = self.ages(&first)?;
        for lag in &mut all {
            let last =
                || before.iter().find(|last| last.topic == lag.topic && last.partition == lag.partition);
            let read = ages.get(&(lag.topic.clone(), lag.partition)).copied();
            lag.seconds = lag.seconds.or(read).or_else(|| last()?.seconds);
        }
        Ok(all)
    }

    fn partitions(&self) -> Result<TopicPartitionList, KafkaError> {
        let mut list = TopicPartitionList::new();
        for name in &self.topics {
            let metadata = self.consumer.fetch_metadata(Some(name), PATIENCE)?;
            for topic in metadata.topics().iter().filter(|topic| topic.error().is_none()) {
                for partition in topic.partitions() {
                    list.add_partition(name, partition.id());
                }
            }
        }
        Ok(list)
    }

    /// How old the records at these offsets are, as far as they come in time.
    fn ages(&self, first: &TopicPartitionList) -> Result<HashMap<(String, i32), f64>, KafkaError> {
        let mut ages = HashMap::new();
        if first.count() == 0 {
            return Ok(ages);
        }
        self.consumer.assign(first)?;
        let deadline = Instant::now() + PATIENCE;
        while ages.len() < first.count() && Instant::now() < deadline {
            if let Some(Ok(record)) = self.consumer.poll(NAP)
                && let Some(age) = age(record.timestamp())
            {
                ages.entry((record.topic().to_owned(), record.partition())).or_insert(age);
            }
        }
        self.consumer.unassign()?;
        Ok(ages)
    }
}

fn offset(offset: Offset) -> Option<i64> {
    match offset {
        Offset::Offset(offset) => Some(offset),
        _ => None,
    }
}

/// Seconds since then; 0 for what a faster clock has written.
fn age(timestamp: Timestamp) -> Option<f64> {
    let written = Duration::from_millis(u64::try_from(timestamp.to_millis()?).ok()?);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    Some(now.saturating_sub(written).as_secs_f64())
}
