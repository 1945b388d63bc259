//! The consumer runtime.
//!
//! One thread polls librdkafka and runs its callbacks; one task per assigned partition runs the handler, a record at a time.
//! The two share a `partitions::Partitions`: the thread puts records in and reads progress out.

mod context;
mod dead_letter;
mod delivery;
mod partitions;
mod poll;
mod status;

use std::fmt::Display;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::error::KafkaError;
use tokio_util::sync::CancellationToken;
use tracing::Span;

use crate::producer::Producer;
use crate::settings::{KafkaSettings, RetrySettings};

pub use status::ConsumerStatus;

/// What became of one delivery. Reasons end in headers and logs: no personal data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Applied, or known from before.
    Ok,
    /// A transient answer about this message: try it again later.
    Retry(String),
    /// This message will never work.
    Poison(String),
    /// A dependency is away; says nothing about the message.
    Unavailable(String),
}

/// Where a record came from, and which try this is.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
    /// 1 for the first try in this process.
    pub attempt: u32,
    /// W3C trace context of the record.
    pub traceparent: Option<String>,
}

/// What a consumer does with an event.
pub trait Handler: Send + Sync + 'static {
    /// The event as the consumer sees it.
    type Event: Send + Sync + 'static;

    /// Applies one event. May be called again with the same event, in this process or another: keep an inbox.
    fn handle(&self, event: &Self::Event, delivery: &Delivery) -> impl Future<Output = Answer> + Send;
}

/// Reads a payload: `Ok(None)` is a sound message that this consumer skips, an error sends the record to dead letters.
pub type Decode<T, E> = fn(&[u8]) -> Result<Option<T>, E>;

/// How a consumer runs.
#[derive(Clone, Debug)]
pub struct ConsumerSettings {
    /// Brokers.
    pub kafka: KafkaSettings,
    /// Consumer group; also names its dead-letter topic.
    pub group: &'static str,
    /// Topics to read.
    pub topics: Vec<String>,
    /// Backoff and attempts.
    pub retry: RetrySettings,
    /// How long running handlers may take to finish when partitions are lost. Below the broker's session timeout.
    pub drain: Duration,
    /// Makes the span of a delivery continue the trace of the record.
    pub continue_trace: fn(&Span, Option<&str>),
}

impl ConsumerSettings {
    /// A consumer of `topic` in `group` with the default drain time of 4 s.
    pub fn new(kafka: KafkaSettings, retry: RetrySettings, group: &'static str, topic: &str) -> Self {
        Self {
            kafka,
            group,
            topics: vec![topic.to_owned()],
            retry,
            drain: Duration::from_secs(4),
            continue_trace: |_, _| {},
        }
    }
}

/// Why a consumer cannot run.
#[derive(Debug, thiserror::Error)]
pub enum ConsumerError {
    /// A setting that librdkafka refuses, or a client that failed for good.
    #[error("the Kafka client failed: {0}")]
    Kafka(#[from] KafkaError),
    /// The polling thread could not be started or ended without a word.
    #[error("the polling thread failed: {0}")]
    Thread(String),
}

/// Consumes until `shutdown`, then drains, commits and leaves the group.
pub async fn run<H, E>(
    settings: ConsumerSettings,
    decode: Decode<H::Event, E>,
    handler: H,
    status: ConsumerStatus,
    shutdown: CancellationToken,
) -> Result<(), ConsumerError>
where
    H: Handler,
    E: Display + 'static,
{
    let dead_letters = Producer::new(&settings.kafka, settings.group, Duration::from_secs(5))?;
    let process = Arc::new(delivery::Process::new(&settings, decode, handler, dead_letters, status.clone()));
    let partitions = partitions::Partitions::new(process, settings.drain);
    let consumer = poll::connect(&settings, partitions, status.clone())?;

    let (ended, end) = tokio::sync::oneshot::channel();
    // A plain thread, not a blocking task: a broker that does not answer must not hold the process at its exit.
    std::thread::Builder::new()
        .name("kafka-poll".to_owned())
        .spawn(move || ended.send(poll::run(consumer, &status, &shutdown)).ok())
        .map_err(|error| ConsumerError::Thread(error.to_string()))?;
    end.await.map_err(|_| ConsumerError::Thread("it panicked".to_owned()))?
}
