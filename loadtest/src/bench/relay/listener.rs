//! A consumer that notes when each record reaches it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use messaging::KafkaSettings;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Headers, Message};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tokio::time::sleep;
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

use super::repeats;
use super::topics::PARTITIONS;

/// How long the last records may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// How soon the thread notices that it is to end.
const POLL: Duration = Duration::from_millis(50);
const PAUSE: Duration = Duration::from_millis(20);

/// When each event was there first.
pub(super) type Seen = HashMap<Uuid, Instant>;

/// Reads all partitions of a topic from their beginning, on a thread of its own, until dropped.
pub(super) struct Listener {
    count: Arc<AtomicUsize>,
    thread: JoinHandle<anyhow::Result<Seen>>,
    guard: DropGuard,
}

impl Listener {
    /// Begins to read `topic`, on which records of about `expected` events will come.
    pub(super) fn start(kafka: &KafkaSettings, topic: &str, expected: usize) -> anyhow::Result<Self> {
        // Otherwise as librdkafka has it: a broker answers at the first byte.
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &kafka.brokers)
            .set("group.id", "bench-listener")
            .set("enable.auto.commit", "false")
            .create()?;
        let mut partitions = TopicPartitionList::new();
        for partition in 0..PARTITIONS {
            partitions.add_partition_offset(topic, partition, Offset::Beginning)?;
        }
        consumer.assign(&partitions)?;
        let (stop, count) = (CancellationToken::new(), Arc::new(AtomicUsize::new(0)));
        let (stopped, counted) = (stop.clone(), count.clone());
        let thread = thread::Builder::new()
            .name("listener".to_owned())
            .spawn(move || listen(&consumer, &stopped, &counted, expected))?;
        Ok(Self { count, thread, guard: stop.drop_guard() })
    }

    /// Waits for `expected` events, and returns what came.
    pub(super) async fn finish(self, expected: usize) -> anyhow::Result<Seen> {
        let deadline = Instant::now() + PATIENCE;
        while self.count.load(Ordering::Relaxed) < expected && !self.thread.is_finished() {
            if Instant::now() > deadline {
                bail!("{} of {expected} events arrived", self.count.load(Ordering::Relaxed));
            }
            sleep(PAUSE).await;
        }
        drop(self.guard);
        let joined = tokio::task::spawn_blocking(move || self.thread.join()).await?;
        joined.map_err(|_| anyhow!("the listener panicked"))?
    }
}

fn listen(
    consumer: &BaseConsumer,
    stop: &CancellationToken,
    count: &AtomicUsize,
    expected: usize,
) -> anyhow::Result<Seen> {
    let (mut seen, mut again) = (HashMap::with_capacity(expected), 0);
    while !stop.is_cancelled() {
        let Some(message) = consumer.poll(POLL) else { continue };
        let at = Instant::now();
        let message = message?;
        let headers = message.headers().context("a record without headers")?;
        let id = headers.iter().find(|header| header.key == "ce_id").and_then(|header| header.value);
        let id = Uuid::try_parse_ascii(id.context("a record without an id")?)?;
        match seen.entry(id) {
            Entry::Vacant(first) => {
                first.insert(at);
                count.fetch_add(1, Ordering::Relaxed);
            }
            Entry::Occupied(_) => again += 1,
        }
    }
    repeats(again)?;
    Ok(seen)
}
