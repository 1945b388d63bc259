//! One record from its arrival to a final outcome.

use std::fmt::Display;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use futures::FutureExt;
use rdkafka::message::OwnedHeaders;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span, error, info_span, warn};

use super::status::ConsumerStatus;
use super::{Answer, ConsumerSettings, Decode, Delivery, Handler, dead_letter};
use crate::headers;
use crate::producer::Producer;
use crate::settings::RetrySettings;

/// So many transient failures in a row, over all messages and without a success in between, mean that the dependency is
/// away. One less than this would still let a single message fail for itself.
const UNAVAILABLE_AFTER: u32 = 5;

/// A record, owned.
pub(super) struct Record {
    pub(super) topic: Arc<str>,
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) key: Vec<u8>,
    pub(super) payload: Vec<u8>,
    pub(super) headers: Option<OwnedHeaders>,
}

/// What the partition's task does next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Applied, skipped or dead-lettered: the offset may be committed.
    Done,
    /// The partition is being given up; whoever gets it next starts with this record.
    Abandoned,
}

/// Everything a partition's task needs; shared by all of them.
pub(super) struct Process<H: Handler, E> {
    group: &'static str,
    retry: RetrySettings,
    decode: Decode<H::Event, E>,
    handler: H,
    producer: Producer,
    status: ConsumerStatus,
    continue_trace: fn(&Span, Option<&str>),
    /// Transient failures since the last definite answer, over all partitions.
    failures_in_a_row: AtomicU32,
}

impl<H: Handler, E: Display + 'static> Process<H, E> {
    pub(super) fn new(
        settings: &ConsumerSettings,
        decode: Decode<H::Event, E>,
        handler: H,
        producer: Producer,
        status: ConsumerStatus,
    ) -> Self {
        Self {
            group: settings.group,
            retry: settings.retry.clone(),
            decode,
            handler,
            producer,
            status,
            continue_trace: settings.continue_trace,
            failures_in_a_row: AtomicU32::new(0),
        }
    }

    /// Tries until there is an outcome. `give_up` ends waits at once; a running handler is left to finish.
    pub(super) async fn deliver(&self, record: &Record, give_up: &CancellationToken) -> Outcome {
        let traceparent = record.headers.as_ref().and_then(|all| headers::text(all, headers::TRACEPARENT));
        let span = info_span!(
            "process",
            otel.kind = "consumer",
            messaging.system = "kafka",
            messaging.destination.name = &*record.topic,
            messaging.destination.partition.id = record.partition,
            messaging.kafka.offset = record.offset,
            messaging.consumer.group.name = self.group,
        );
        (self.continue_trace)(&span, traceparent);
        self.decide(record, traceparent, give_up).instrument(span).await
    }

    async fn decide(
        &self,
        record: &Record,
        traceparent: Option<&str>,
        give_up: &CancellationToken,
    ) -> Outcome {
        let decoded = (self.decode)(&record.payload).map_err(|error| error.to_string());
        let event = match decoded {
            Ok(Some(event)) => event,
            Ok(None) => {
                self.status.skipped_one();
                return Outcome::Done;
            }
            Err(reason) => return self.bury(record, &reason, 0, give_up).await,
        };
        let mut delivery = Delivery {
            topic: record.topic.to_string(),
            partition: record.partition,
            offset: record.offset,
            attempt: 1,
            traceparent: traceparent.map(str::to_owned),
        };
        // Failures that count as attempts, and waits for a dependency, which do not.
        let (mut failures, mut waits) = (0, 0);
        loop {
            let wait = match self.ask(&event, &delivery).await {
                Answer::Ok => {
                    self.failures_in_a_row.store(0, Ordering::Relaxed);
                    return Outcome::Done;
                }
                Answer::Poison(reason) => {
                    self.failures_in_a_row.store(0, Ordering::Relaxed);
                    return self.bury(record, &reason, delivery.attempt, give_up).await;
                }
                Answer::Retry(reason) => {
                    let in_a_row = self.failures_in_a_row.fetch_add(1, Ordering::Relaxed).saturating_add(1);
                    if in_a_row >= UNAVAILABLE_AFTER {
                        waits += 1;
                        self.note_wait(waits, &reason);
                        (waits, true)
                    } else {
                        failures += 1;
                        if failures >= self.retry.retry_max_attempts {
                            return self.bury(record, &reason, delivery.attempt, give_up).await;
                        }
                        warn!(reason, attempt = delivery.attempt, "delivery failed, will be tried again");
                        (failures, false)
                    }
                }
                Answer::Unavailable(reason) => {
                    waits += 1;
                    self.note_wait(waits, &reason);
                    (waits, true)
                }
            };
            if !self.pause(wait.0, wait.1, give_up).await {
                return Outcome::Abandoned;
            }
            delivery.attempt += 1;
        }
    }

    async fn ask(&self, event: &H::Event, delivery: &Delivery) -> Answer {
        AssertUnwindSafe(self.handler.handle(event, delivery))
            .catch_unwind()
            .await
            .unwrap_or_else(|_| Answer::Poison("the handler panicked".to_owned()))
    }

    /// Logged when it begins and then rarely: an outage of an hour is one story, not a line per probe.
    fn note_wait(&self, waits: u32, reason: &str) {
        if waits.is_power_of_two() {
            warn!(reason, probes = waits, "a dependency is away, waiting for it");
        }
    }

    /// `false`: the partition is being given up.
    async fn pause(&self, failures: u32, for_dependency: bool, give_up: &CancellationToken) -> bool {
        let _waiting = for_dependency.then(|| self.status.wait());
        tokio::select! {
            biased;
            () = give_up.cancelled() => false,
            () = tokio::time::sleep(self.retry.wait_after(failures)) => true,
        }
    }

    /// The record is done only once the dead letter is acknowledged.
    async fn bury(
        &self,
        record: &Record,
        reason: &str,
        attempts: u32,
        give_up: &CancellationToken,
    ) -> Outcome {
        error!(reason, attempts, "message goes to dead letters");
        let mut failures = 0;
        loop {
            let letter = dead_letter::letter(record, self.group, reason, attempts);
            match self.producer.publish_one(letter).await {
                Ok(()) => {
                    self.status.dead_lettered_one();
                    return Outcome::Done;
                }
                Err(error) => {
                    failures += 1;
                    self.note_wait(failures, &error.to_string());
                }
            }
            if !self.pause(failures, true, give_up).await {
                return Outcome::Abandoned;
            }
        }
    }
}
