//! The tasks that work on runs.

use std::fmt::Display;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use futures::FutureExt;
use tracing::{Span, error, info_span, warn};

use super::desk::SharedDesk;
use super::job::{Job, Outcome, Run};
use super::status::ConsumerStatus;
use super::{Answer, ConsumerSettings, Decode, Delivery, dead_letter};
use crate::headers;
use crate::producer::Producer;

/// How a run is put to the handler.
pub(super) trait Shape: Send + Sync + 'static {
    /// One outcome for each job of the run.
    fn handle(&self, run: &Run, office: &Office) -> impl Future<Output = Vec<Outcome>> + Send;
}

/// What workers of any shape need.
pub(super) struct Office {
    pub(super) desk: SharedDesk,
    pub(super) status: ConsumerStatus,
    group: &'static str,
    producer: Producer,
    continue_trace: fn(&Span, Option<&str>),
}

impl Office {
    pub(super) fn new(
        settings: &ConsumerSettings,
        desk: SharedDesk,
        status: ConsumerStatus,
        producer: Producer,
    ) -> Self {
        Self { desk, status, group: settings.group, producer, continue_trace: settings.continue_trace }
    }

    /// The span of a delivery, as part of the record's trace.
    pub(super) fn span(&self, job: &Job) -> Span {
        let span = info_span!(
            "process",
            otel.kind = "consumer",
            messaging.system = "kafka",
            messaging.destination.name = &*job.record.topic,
            messaging.destination.partition.id = job.record.partition,
            messaging.kafka.offset = job.record.offset,
            messaging.consumer.group.name = self.group,
        );
        (self.continue_trace)(&span, traceparent(job));
        span
    }

    /// The span of a batch, which belongs to many traces and so to none.
    pub(super) fn batch_span(&self, records: usize) -> Span {
        info_span!(
            "process",
            otel.kind = "consumer",
            messaging.system = "kafka",
            messaging.batch.message_count = records,
            messaging.consumer.group.name = self.group,
        )
    }

    /// The jobs are done with only once their dead letters are acknowledged.
    async fn bury(&self, jobs: &[Job]) -> Vec<Outcome> {
        let letters = jobs.iter().map(|job| {
            let reason = job.burial.as_ref().map_or("", |burial| burial.reason.as_str());
            dead_letter::letter(&job.record, self.group, reason, job.tries)
        });
        let published = self.producer.publish(letters.collect()).await;
        jobs.iter().zip(published).map(|(job, published)| self.buried(job, published)).collect()
    }

    fn buried(&self, job: &Job, published: Result<(), crate::PublishError>) -> Outcome {
        let failures = job.burial.as_ref().map_or(0, |burial| burial.failures);
        let reason = job.burial.as_ref().map_or("", |burial| burial.reason.as_str());
        match published {
            Ok(()) => {
                let _entered = self.span(job).entered();
                error!(reason, attempts = job.tries, "message went to dead letters");
                self.status.dead_lettered_one();
                Outcome::Buried
            }
            Err(error) => {
                if (failures + 1).is_power_of_two() {
                    warn!(%error, reason, "a dead letter could not be written, will be tried again");
                }
                Outcome::Unburied(error.to_string())
            }
        }
    }
}

/// Works on `run` and on what follows, until nothing does.
pub(super) async fn work<S: Shape>(shape: Arc<S>, office: Arc<Office>, mut run: Run) {
    loop {
        let outcomes = tokio::select! {
            biased;
            outcomes = async {
                match run.pass {
                    Some(_) => shape.handle(&run, &office).await,
                    None => office.bury(&run.jobs).await,
                }
            } => outcomes,
            () = run.cut_off.cancelled() => vec![Outcome::Untouched; run.jobs.len()],
        };
        match office.desk.settle(run, outcomes) {
            Some(next) => run = next,
            None => return,
        }
        // A handler that never waits would keep this thread from every other task.
        tokio::task::coop::consume_budget().await;
    }
}

/// What the payload says. `Ok(None)`: nothing for this consumer.
pub(super) fn read<T, E: Display>(decode: Decode<T, E>, job: &Job) -> Result<Option<T>, String> {
    match catch_unwind(AssertUnwindSafe(|| decode(&job.record.payload))) {
        Ok(decoded) => decoded.map_err(|error| error.to_string()),
        Err(_) => Err("the decoder panicked".to_owned()),
    }
}

pub(super) fn delivery(job: &Job) -> Delivery {
    Delivery {
        topic: job.record.topic.clone(),
        partition: job.record.partition,
        offset: job.record.offset,
        attempt: job.tries.saturating_add(1),
        traceparent: traceparent(job).map(str::to_owned),
    }
}

/// The answer of a handler; a panic is one too.
pub(super) async fn ask(handler: impl Future<Output = Answer> + Send) -> Answer {
    AssertUnwindSafe(handler)
        .catch_unwind()
        .await
        .unwrap_or_else(|_| Answer::Poison("the handler panicked".to_owned()))
}

fn traceparent(job: &Job) -> Option<&str> {
    job.record.headers.as_ref().and_then(|all| headers::text(all, headers::TRACEPARENT))
}
