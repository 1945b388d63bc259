//! The thread that polls.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::{ClientConfig, config::RDKafkaLogLevel};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::context::Context;
use super::delivery::Record;
use super::partitions::Partitions;
use super::status::ConsumerStatus;
use super::{ConsumerError, ConsumerSettings};

/// How long a paused partition or a shutdown may go unnoticed.
const POLL: Duration = Duration::from_millis(50);
/// How much is delivered again after a crash. The inbox makes repeats cheap, commits are not.
const COMMIT_EVERY: Duration = Duration::from_millis(500);

pub(super) fn connect(
    settings: &ConsumerSettings,
    partitions: Partitions,
    status: ConsumerStatus,
) -> Result<BaseConsumer<Context>, ConsumerError> {
    let consumer: BaseConsumer<Context> = ClientConfig::new()
        .set("bootstrap.servers", &settings.kafka.brokers)
        .set("group.id", settings.group)
        .set("client.id", settings.group)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "earliest")
        .set("partition.assignment.strategy", "cooperative-sticky")
        // A killed process is replaced within seconds, not after the default of 45.
        .set("session.timeout.ms", "6000")
        .set("heartbeat.interval.ms", "2000")
        .set("fetch.wait.max.ms", "100")
        .set("queued.max.messages.kbytes", "16384")
        .set("reconnect.backoff.max.ms", "1000")
        .set("socket.timeout.ms", "10000")
        .set_log_level(RDKafkaLogLevel::Warning)
        .create_with_context(Context { partitions, status })?;
    let topics: Vec<&str> = settings.topics.iter().map(String::as_str).collect();
    consumer.subscribe(&topics)?;
    Ok(consumer)
}

pub(super) fn run(
    consumer: BaseConsumer<Context>,
    status: &ConsumerStatus,
    shutdown: &CancellationToken,
) -> Result<(), ConsumerError> {
    let partitions = &consumer.context().partitions;
    let mut last_commit = Instant::now();
    let mut names = Names::default();
    while !shutdown.is_cancelled() {
        status.polled();
        if let Some(list) = partitions.take_resumable() {
            consumer.resume(&list)?;
        }
        if last_commit.elapsed() >= COMMIT_EVERY {
            last_commit = Instant::now();
            if partitions.failed() {
                return Err(ConsumerError::Thread("a partition's task ended early".to_owned()));
            }
            if let Some(offsets) = partitions.take_offsets()
                && let Err(error) = consumer.commit(&offsets, CommitMode::Async)
            {
                warn!(%error, "commit could not be sent, will be repeated");
                partitions.commit_failed();
            }
        }
        match consumer.poll(POLL) {
            None => {}
            Some(Ok(message)) => {
                let (topic, partition) = (names.shared(message.topic()), message.partition());
                if partitions.push(record(topic, &message)) {
                    let mut list = rdkafka::TopicPartitionList::new();
                    list.add_partition(message.topic(), partition);
                    consumer.pause(&list)?;
                }
            }
            Some(Err(error)) => check(error)?,
        }
    }
    if let Some(offsets) = partitions.give_up(None)
        && let Err(error) = consumer.commit(&offsets, CommitMode::Sync)
    {
        warn!(%error, "last commit failed, the last records will be delivered again");
    }
    info!("consumer drained, leaving the group");
    Ok(())
}

/// Errors that librdkafka mends by itself are only noted.
fn check(error: KafkaError) -> Result<(), ConsumerError> {
    match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::Fatal) => Err(error.into()),
        Some(RDKafkaErrorCode::PollExceeded) => {
            warn!(%error, "evicted from the group for not polling in time");
            Ok(())
        }
        _ => {
            debug!(%error, "Kafka client reports");
            Ok(())
        }
    }
}

fn record(topic: Arc<str>, message: &BorrowedMessage<'_>) -> Record {
    Record {
        topic,
        partition: message.partition(),
        offset: message.offset(),
        key: message.key().unwrap_or_default().to_vec(),
        payload: message.payload().unwrap_or_default().to_vec(),
        headers: message.headers().map(rdkafka::message::BorrowedHeaders::detach),
    }
}

/// One copy of each topic name.
#[derive(Default)]
struct Names(Vec<Arc<str>>);

impl Names {
    fn shared(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.0.iter().find(|known| known.as_ref() == name) {
            return known.clone();
        }
        let new: Arc<str> = name.into();
        self.0.push(new.clone());
        new
    }
}
