//! The thread that polls.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::{ClientConfig, config::RDKafkaLogLevel};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::context::Context;
use super::desk::SharedDesk;
use super::job::Record;
use super::parting::{self, Itself};
use super::status::ConsumerStatus;
use super::{ConsumerError, ConsumerSettings, GroupProtocol};

/// How long a shutdown or an operator's word may go unnoticed.
const POLL: Duration = Duration::from_millis(50);
/// The same while a backoff may end or a paused partition may have room again.
const POLL_SOON: Duration = Duration::from_millis(5);
/// How much is delivered again after a crash. The inbox makes repeats cheap, commits are not.
const COMMIT_EVERY: Duration = Duration::from_millis(500);

pub(super) fn connect(
    settings: &ConsumerSettings,
    desk: SharedDesk,
    status: ConsumerStatus,
) -> Result<Arc<BaseConsumer<Context>>, ConsumerError> {
    let mut config = ClientConfig::new();
    match settings.protocol {
        GroupProtocol::Classic => config
            .set("partition.assignment.strategy", "cooperative-sticky")
            // A killed process is replaced within seconds, not after the default of 45.
            .set("session.timeout.ms", "6000")
            // A member learns at its next heartbeat that the group deals out anew, and until all know nobody takes over what another gave
            // up. Costs the broker two small requests a second for each member. Shorter makes no join faster: librdkafka sends one JoinGroup a
            // second at most, and a join needs two.
            .set("heartbeat.interval.ms", "500"),
        GroupProtocol::Consumer => config.set("group.protocol", "consumer"),
    };
    let context = Context { desk, status, commit_failed: AtomicBool::new(false), itself: Itself::new() };
    let consumer: BaseConsumer<Context> = config
        .set("bootstrap.servers", &settings.kafka.brokers)
        .set("group.id", settings.group)
        .set("client.id", settings.group)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "earliest")
        .set("fetch.wait.max.ms", "20")
        .set("fetch.min.bytes", "65536")
        // Behind a backlog both are full, and what is in memory takes about twice its bytes.
        .set("queued.max.messages.kbytes", "4096")
        .set("max.partition.fetch.bytes", "262144")
        // With its buffer full librdkafka looks again after the default of 1 s, and we empty it within some 0.1 s.
        .set("fetch.queue.backoff.ms", "20")
        .set("reconnect.backoff.max.ms", "1000")
        .set("socket.timeout.ms", "10000")
        .set_log_level(RDKafkaLogLevel::Warning)
        .create_with_context(context)?;
    let consumer = Arc::new(consumer);
    // Set nowhere else.
    consumer.context().itself.set(Arc::downgrade(&consumer)).ok();
    Ok(consumer)
}

/// Consumes, and in the end leaves the group.
pub(super) fn run(
    consumer: Arc<BaseConsumer<Context>>,
    topics: &[String],
    status: &ConsumerStatus,
    shutdown: &CancellationToken,
) -> Result<(), ConsumerError> {
    let ended = poll(&consumer, topics, status, shutdown);
    parting::leave(consumer);
    ended
}

fn poll(
    consumer: &BaseConsumer<Context>,
    topics: &[String],
    status: &ConsumerStatus,
    shutdown: &CancellationToken,
) -> Result<(), ConsumerError> {
    let Context { desk, commit_failed, itself, .. } = consumer.context().as_ref();
    let (mut last_commit, mut last_tick) = (Instant::now(), None::<Instant>);
    let (mut wait, mut member) = (POLL, false);
    let mut names = Names::default();
    while !shutdown.is_cancelled() {
        if last_tick.is_none_or(|last| last.elapsed() >= POLL_SOON) {
            last_tick = Some(Instant::now());
            status.polled();
            if member == status.stays_out() {
                member = !member;
                status.joined(false);
                if member { subscribe(consumer, topics)? } else { consumer.unsubscribe() }
            }
            wait = if desk.tick() { POLL_SOON } else { POLL };
            if let Some(list) = desk.resumable() {
                consumer.resume(&list)?;
            }
        }
        if last_commit.elapsed() >= COMMIT_EVERY {
            last_commit = Instant::now();
            if let Some(offsets) = desk.offsets(commit_failed.swap(false, Ordering::Relaxed))
                && let Err(error) = consumer.commit(&offsets, CommitMode::Async)
            {
                warn!(%error, "commit could not be sent, will be repeated");
                commit_failed.store(true, Ordering::Relaxed);
            }
        }
        match consumer.poll(wait) {
            None => {}
            Some(Ok(message)) => {
                let full = desk.admit(record(names.shared(message.topic()), &message));
                if full {
                    let mut list = rdkafka::TopicPartitionList::new();
                    list.add_partition(message.topic(), message.partition());
                    consumer.pause(&list)?;
                    wait = POLL_SOON;
                }
            }
            Some(Err(error)) => check(error)?,
        }
    }
    if let Some(offsets) = desk.give_up(None, false)
        && let Err(error) = parting::commit(itself, offsets)
    {
        warn!(%error, "last commit failed, the last records will be delivered again");
    }
    info!("consumer drained, leaving the group");
    Ok(())
}

fn subscribe(consumer: &BaseConsumer<Context>, topics: &[String]) -> Result<(), ConsumerError> {
    let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
    Ok(consumer.subscribe(&topics)?)
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
        key: message.key().map(<[u8]>::to_vec),
        payload: message.payload().map(<[u8]>::to_vec),
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
