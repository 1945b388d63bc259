//! The consumer runtime.
//!
//! One thread polls librdkafka and runs its callbacks; tasks run the handler. Between them stands the desk, a lock around the
//! scheduler, which is pure: it knows for each partition what is in flight (`ledger`) and who waits for whom (`keys`), whether the
//! handler's dependency is there (`availability`), and what follows from each outcome (`settle`). The shapes `single` and `batch` put
//! a run of records to the handler.

mod availability;
mod batch;
mod context;
mod dead_letter;
mod desk;
mod held;
mod job;
mod keys;
mod ledger;
mod letter_rate;
mod parting;
mod partition;
mod poll;
mod scheduler;
mod settings;
mod settle;
mod single;
mod spans;
mod status;
mod worker;

use std::fmt::Display;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rdkafka::error::KafkaError;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::desk::Desk;
use self::scheduler::Rules;
use self::worker::{Office, Shape, work};
use crate::producer::Producer;

pub use held::{HeldKeys, Place, SourceRecord};
pub use settings::{ConsumerSettings, GroupProtocol};
pub use status::{ConsumerControl, ConsumerStatus};

const DEAD_LETTER_TIMEOUT: Duration = Duration::from_secs(5);
const LAST_MOMENT: Duration = Duration::from_secs(1);

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
#[derive(Clone, Debug, Default)]
pub struct Delivery {
    /// Topic.
    pub topic: Arc<str>,
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
    /// 1 for the first try under this assignment.
    pub attempt: u32,
    /// How often an operator has sent it back from dead letters.
    pub replays: u32,
    /// An operator allows that it is applied though the inbox may have forgotten whether it was.
    pub beyond_horizon: bool,
    /// W3C trace context of the record.
    pub traceparent: Option<String>,
    /// What the handler found out: see [`Delivery::repeated`].
    pub repeat: Repeat,
}

impl Delivery {
    /// The handler says that the effect of the event stands already: nothing was done this time.
    pub fn repeated(&self) {
        self.repeat.0.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_repeat(&self) -> bool {
        self.repeat.0.load(Ordering::Relaxed)
    }
}

/// Whether the effect of an event stood already.
#[derive(Debug, Default)]
pub struct Repeat(AtomicBool);

impl Clone for Repeat {
    fn clone(&self) -> Self {
        Self(AtomicBool::new(self.0.load(Ordering::Relaxed)))
    }
}

/// What a consumer does with an event.
pub trait Handler: Send + Sync + 'static {
    /// The event as the consumer sees it.
    type Event: Send + Sync + 'static;

    /// Applies one event. May be called again with the same event, in this process or another: keep an inbox.
    fn handle(&self, event: &Self::Event, delivery: &Delivery) -> impl Future<Output = Answer> + Send;
}

/// An event of a batch.
#[derive(Clone, Debug)]
pub struct Delivered<T> {
    /// The event.
    pub event: T,
    /// Where it came from.
    pub delivery: Delivery,
}

/// What a consumer does with many events at once, in one transaction say.
pub trait BatchHandler: Send + Sync + 'static {
    /// The event as the consumer sees it.
    type Event: Send + Sync + 'static;

    /// Applies all events or none; the answer is for all of them. Events of one key stand in their order.
    ///
    /// `Retry` and `Poison` have the batch split until the event that fails stands alone, so a handler need not find out which one it
    /// is. May be called again with the same events, also with one event twice in a batch: keep an inbox.
    fn handle_batch(&self, batch: &[Delivered<Self::Event>]) -> impl Future<Output = Answer> + Send;
}

/// Reads a payload: `Ok(None)` is a sound message that this consumer skips, an error sends the record to dead letters.
pub type Decode<T, E> = fn(&[u8]) -> Result<Option<T>, E>;

/// Why a consumer cannot run.
#[derive(Debug, thiserror::Error)]
pub enum ConsumerError {
    /// A setting that librdkafka refuses, or a client that failed for good.
    #[error("the Kafka client failed: {0}")]
    Kafka(#[from] KafkaError),
    /// The polling thread could not be started or ended without a word.
    #[error("the polling thread failed: {0}")]
    Thread(String),
    /// A bug of this crate: handlers and decoders that panic end in dead letters.
    #[error("a worker panicked")]
    Worker,
}

/// Consumes until `shutdown`, then drains, commits and leaves the group. One message at a time for each key, `settings.in_flight` at a
/// time in all.
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
    let rules = settings.rules(settings.in_flight, 1);
    consume(settings, rules, single::Single { handler, decode }, status, shutdown).await
}

/// As [`run`], for a handler that takes batches: one at a time, of at most `settings.batch_records`.
pub async fn run_batches<H, E>(
    settings: ConsumerSettings,
    decode: Decode<H::Event, E>,
    handler: H,
    status: ConsumerStatus,
    shutdown: CancellationToken,
) -> Result<(), ConsumerError>
where
    H: BatchHandler,
    E: Display + 'static,
{
    let rules = settings.rules(1, settings.batch_records);
    consume(settings, rules, batch::Batches { handler, decode }, status, shutdown).await
}

async fn consume<S: Shape>(
    settings: ConsumerSettings,
    rules: Rules,
    shape: S,
    status: ConsumerStatus,
    shutdown: CancellationToken,
) -> Result<(), ConsumerError> {
    let (starts, mut started) = mpsc::unbounded_channel();
    let desk = Arc::new(Desk::new(rules, starts, status.clone(), settings.drain, settings.guard.stuck_after));
    let dead_letters = Producer::for_letters(&settings.kafka, settings.group, DEAD_LETTER_TIMEOUT)?;
    let office = Arc::new(Office::new(&settings, desk.clone(), status.clone(), dead_letters));
    let consumer = poll::connect(&settings, desk, status.clone())?;
    // Ends with us too: a worker that panicked leaves a record that never finishes.
    let stop = shutdown.child_token();

    let (ended, mut end) = oneshot::channel();
    let stopped = stop.clone();
    // Also when this future is dropped: a polling thread that nobody stops would stay in the group for ever.
    let _stop_on_drop = stop.clone().drop_guard();
    // A plain thread, not a blocking task: a broker that does not answer must not hold the process at its exit.
    std::thread::Builder::new()
        .name("kafka-poll".to_owned())
        .spawn(move || ended.send(poll::run(consumer, &settings.topics, &status, &stopped)).ok())
        .map_err(|error| ConsumerError::Thread(error.to_string()))?;

    let (shape, mut workers, mut panicked) = (Arc::new(shape), JoinSet::new(), false);
    let result = loop {
        tokio::select! {
            // The end first: after it nobody waits for a run. Then new runs, which records wait for; a worker that ended does not mind.
            biased;
            end = &mut end => break end.map_err(|_| ConsumerError::Thread("it panicked".to_owned()))?,
            Some(run) = started.recv() => {
                workers.spawn(work(shape.clone(), office.clone(), run));
            }
            Some(ended) = workers.join_next() => {
                if ended.is_err() {
                    panicked = true;
                    stop.cancel();
                }
            }
        }
    };
    // What was cut off needs a moment to notice. A handler that blocks its thread cannot be waited for.
    tokio::time::timeout(LAST_MOMENT, async { while workers.join_next().await.is_some() {} }).await.ok();
    if panicked { Err(ConsumerError::Worker) } else { result }
}
