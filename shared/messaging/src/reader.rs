//! Reading a topic from one place to another, as an observer: nothing is committed and no group is joined.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message, OwnedHeaders};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tokio::sync::mpsc;

use crate::aside::Aside;
use crate::settings::KafkaSettings;

/// librdkafka wants a group's name before it assigns; nobody ever joins or commits under this one.
const OBSERVER: &str = "observer";
/// Records that are handed over together, or fewer if they have so many bytes, and how many such batches may wait for whoever reads them.
const BATCH: usize = 1000;
const BATCH_BYTES: usize = 1 << 20;
const BATCHES: usize = 4;
/// Between two questions about what moves.
const PAUSE: Duration = Duration::from_millis(100);

/// Why a topic cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The broker did not answer in time, or refused.
    #[error("Kafka: {0}")]
    Kafka(#[from] KafkaError),
    /// There is no such topic.
    #[error("Kafka has no topic {0}")]
    NoTopic(String),
    /// The broker stopped sending before the end was reached.
    #[error("Kafka sent nothing of topic {topic} for {timeout:?}, though there is more")]
    Silence {
        /// The topic.
        topic: String,
        /// How long we waited.
        timeout: Duration,
    },
}

/// A record as it stands on the topic.
#[derive(Clone, Debug)]
pub struct ReadRecord {
    /// Partition.
    pub partition: usize,
    /// Offset in it.
    pub offset: i64,
    /// When it was produced, in milliseconds since 1970; `None` if the broker keeps no time.
    pub timestamp_ms: Option<i64>,
    /// Key; empty if it has none.
    pub key: Vec<u8>,
    /// Value; empty if it has none.
    pub payload: Vec<u8>,
    /// What it has: a key or value that is empty is not the same as none.
    pub has: Has,
    /// Headers.
    pub headers: Option<OwnedHeaders>,
}

/// Which parts of a record there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Has {
    /// A key.
    pub key: bool,
    /// A value.
    pub payload: bool,
}

/// An observer of one topic. Offsets are lists with one entry per partition, from partition 0.
#[derive(Clone)]
pub struct TopicReader {
    consumer: Arc<Aside<BaseConsumer>>,
    settings: KafkaSettings,
    topic: String,
    partitions: usize,
    timeout: Duration,
}

impl TopicReader {
    /// Looks the topic up. Every call to the broker ends after `timeout`.
    pub async fn connect(
        settings: &KafkaSettings,
        topic: &str,
        timeout: Duration,
    ) -> Result<Self, ReadError> {
        let consumer = Arc::new(Aside::new(consumer(settings, OBSERVER)?));
        let (asked, name) = (consumer.clone(), topic.to_owned());
        let partitions = blocking(move || {
            let metadata = persistently(timeout, |left| asked.fetch_metadata(Some(&name), left))?;
            let known = metadata.topics().first().filter(|topic| topic.error().is_none());
            Ok(known.map_or(0, |topic| topic.partitions().len()))
        })
        .await?;
        if partitions == 0 {
            return Err(ReadError::NoTopic(topic.to_owned()));
        }
        Ok(Self { consumer, settings: settings.clone(), topic: topic.to_owned(), partitions, timeout })
    }

    /// How many partitions the topic has.
    pub fn partitions(&self) -> usize {
        self.partitions
    }

    /// The first offset that retention has left, and the one after the last record, of each partition.
    pub async fn watermarks(&self) -> Result<Vec<(i64, i64)>, ReadError> {
        let reader = self.clone();
        let watermarks = blocking(move || {
            let asked = |partition| {
                persistently(reader.timeout, |left| {
                    reader.consumer.fetch_watermarks(&reader.topic, number(partition), left)
                })
            };
            (0..reader.partitions).map(asked).collect()
        });
        Ok(watermarks.await?)
    }

    /// The first offset whose record is not older than `timestamp_ms`; `None` where there is no such record.
    pub async fn offsets_at(&self, timestamp_ms: i64) -> Result<Vec<Option<i64>>, ReadError> {
        let reader = self.clone();
        let found = blocking(move || {
            persistently(reader.timeout, |left| {
                let times = reader.list(timestamp_ms)?;
                reader.offsets(&reader.consumer.offsets_for_times(times, left)?)
            })
        });
        Ok(found.await?)
    }

    /// What `group` has committed on the topic; `None` where it has committed nothing.
    pub async fn committed(&self, group: &str) -> Result<Vec<Option<i64>>, ReadError> {
        let member = consumer(&self.settings, group)?;
        let reader = self.clone();
        let found = blocking(move || {
            persistently(reader.timeout, |left| {
                reader.offsets(&member.committed_offsets(reader.list(0)?, left)?)
            })
        });
        Ok(found.await?)
    }

    /// Reads from `from` up to, not including, `to`. Records of one partition come in their order. The channel ends after the
    /// last record, or after an error; dropping it ends the reading.
    pub fn read(&self, from: &[i64], to: &[i64]) -> mpsc::Receiver<Result<Vec<ReadRecord>, ReadError>> {
        let (sender, receiver) = mpsc::channel(BATCHES);
        let (reader, from, to) = (self.clone(), from.to_vec(), to.to_vec());
        // Its end is the channel's end, and every wait in it is bounded.
        tokio::task::spawn_blocking(move || {
            if let Err(error) = reader.pump(&from, &to, &sender) {
                sender.blocking_send(Err(error)).ok();
            }
        });
        receiver
    }

    fn pump(
        &self,
        from: &[i64],
        to: &[i64],
        sender: &mpsc::Sender<Result<Vec<ReadRecord>, ReadError>>,
    ) -> Result<(), ReadError> {
        let mut list = TopicPartitionList::new();
        let mut open = vec![false; self.partitions];
        for (partition, (from, to)) in from.iter().zip(to).enumerate().take(self.partitions) {
            if from < to {
                list.add_partition_offset(&self.topic, number(partition), Offset::Offset(*from))?;
                open[partition] = true;
            }
        }
        // A client costs a tenth of a second, and most topics of dead letters are empty.
        if !open.contains(&true) {
            return Ok(());
        }
        // Its own, since pausing a partition outlives the assignment.
        let consumer = consumer(&self.settings, OBSERVER)?;
        consumer.assign(&list)?;
        let (mut batch, mut bytes) = (Vec::with_capacity(BATCH), 0);
        // Waited since the last record came. Whoever is handed the records may take longer.
        let mut silence = Duration::ZERO;
        while open.contains(&true) {
            let asked = Instant::now();
            let answer = consumer.poll(self.timeout.saturating_sub(silence));
            silence += asked.elapsed();
            let ended = match answer {
                Some(Ok(message)) => {
                    silence = Duration::ZERO;
                    let record = record(&message);
                    let (partition, next) = (record.partition, record.offset + 1);
                    let end = to.get(partition).copied().unwrap_or_default();
                    if next <= end {
                        bytes += record.key.len() + record.payload.len();
                        batch.push(record);
                    }
                    (next >= end).then_some(partition)
                }
                // What was there when `to` was taken may be gone by now: retention goes on.
                Some(Err(KafkaError::PartitionEOF(partition))) => usize::try_from(partition).ok(),
                // If that takes too long, a poll comes back empty.
                Some(Err(error)) if mends_itself(&error) => None,
                Some(Err(error)) => return Err(error.into()),
                None => {
                    return Err(ReadError::Silence { topic: self.topic.clone(), timeout: self.timeout });
                }
            };
            if let Some(partition) = ended
                && let Some(still) = open.get_mut(partition)
                && std::mem::take(still)
            {
                let mut done = TopicPartitionList::new();
                done.add_partition(&self.topic, number(partition));
                consumer.pause(&done)?;
            }
            if batch.len() == BATCH || bytes >= BATCH_BYTES {
                bytes = 0;
                if sender.blocking_send(Ok(std::mem::take(&mut batch))).is_err() {
                    break;
                }
            }
        }
        if !batch.is_empty() {
            sender.blocking_send(Ok(batch)).ok();
        }
        Ok(())
    }

    /// All partitions, each with this offset or time.
    fn list(&self, offset: i64) -> Result<TopicPartitionList, KafkaError> {
        let mut list = TopicPartitionList::new();
        for partition in 0..self.partitions {
            list.add_partition_offset(&self.topic, number(partition), Offset::Offset(offset))?;
        }
        Ok(list)
    }

    /// Kafka answers for each partition by itself, be it with an error.
    fn offsets(&self, list: &TopicPartitionList) -> Result<Vec<Option<i64>>, KafkaError> {
        (0..self.partitions)
            .map(|partition| {
                let Some(answer) = list.find_partition(&self.topic, number(partition)) else {
                    return Ok(None);
                };
                answer.error()?;
                Ok(match answer.offset() {
                    Offset::Offset(offset) => Some(offset),
                    _ => None,
                })
            })
            .collect()
    }
}

/// Asks until there is an answer, for no longer than `timeout`; the question is told how much of that is left.
fn persistently<T>(
    timeout: Duration,
    question: impl Fn(Duration) -> Result<T, KafkaError>,
) -> Result<T, KafkaError> {
    let deadline = Instant::now() + timeout;
    loop {
        match question(deadline.saturating_duration_since(Instant::now())) {
            Err(error) if is_moving(&error) && Instant::now() + PAUSE < deadline => thread::sleep(PAUSE),
            answer => return answer,
        }
    }
}

/// To be dropped where blocking is allowed: it leaves its group, of which it is no member.
fn consumer(settings: &KafkaSettings, group: &str) -> Result<BaseConsumer, KafkaError> {
    ClientConfig::new()
        .set("bootstrap.servers", &settings.brokers)
        .set("group.id", group)
        .set("client.id", OBSERVER)
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("auto.offset.reset", "earliest")
        .set("queued.max.messages.kbytes", "16384")
        .create()
}

/// News of connections that were lost: librdkafka opens them again by itself.
fn mends_itself(error: &KafkaError) -> bool {
    matches!(
        error,
        KafkaError::MessageConsumption(
            RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::AllBrokersDown
        )
    )
}

fn record(message: &BorrowedMessage<'_>) -> ReadRecord {
    ReadRecord {
        partition: usize::try_from(message.partition()).unwrap_or_default(),
        offset: message.offset(),
        timestamp_ms: message.timestamp().to_millis(),
        key: message.key().unwrap_or_default().to_vec(),
        payload: message.payload().unwrap_or_default().to_vec(),
        has: Has { key: message.key().is_some(), payload: message.payload().is_some() },
        headers: message.headers().map(rdkafka::message::BorrowedHeaders::detach),
    }
}

/// A group or a partition is being handed from one broker to another, or to the same one after a restart: it is worth asking again. The Kafka
/// protocol calls these retriable, as it does `CoordinatorLoadInProgress`, about which librdkafka asks again by itself. `UnknownPartition` is
/// librdkafka's own word for one that nobody serves at the moment.
fn is_moving(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    let of_group = [Code::NotCoordinator, Code::CoordinatorNotAvailable];
    let of_partition = [Code::NotLeaderForPartition, Code::LeaderNotAvailable, Code::UnknownPartition];
    error.rdkafka_error_code().is_some_and(|code| of_group.contains(&code) || of_partition.contains(&code))
}

/// Kafka counts partitions in 32 bits.
fn number(partition: usize) -> i32 {
    i32::try_from(partition).unwrap_or(i32::MAX)
}

/// librdkafka's look-ups block.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, KafkaError> + Send + 'static,
) -> Result<T, KafkaError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| KafkaError::Canceled)?
}
