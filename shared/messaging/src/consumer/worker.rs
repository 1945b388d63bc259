//! The tasks that work on runs.

use std::fmt::Display;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use futures::FutureExt;
use tracing::{Span, error, warn};

use super::dead_letter::{Origin, letter};
use super::desk::SharedDesk;
use super::held::Turn;
use super::job::{Job, Outcome, Run};
use super::status::ConsumerStatus;
use super::{Answer, ConsumerSettings, Decode, Delivery, HeldKeys, held};
use crate::headers;
use crate::metrics::ConsumerMetrics;
use crate::producer::Producer;

/// How a run is put to the handler.
pub(super) trait Shape: Send + Sync + 'static {
    /// One outcome for each of the jobs, which are all of the run's or some.
    fn handle(&self, run: &Run, jobs: &[&Job], office: &Office) -> impl Future<Output = Vec<Outcome>> + Send;
}

/// What workers of any shape need.
pub(super) struct Office {
    pub(super) desk: SharedDesk,
    pub(super) status: ConsumerStatus,
    pub(super) group: &'static str,
    producer: Producer,
    held: Option<Arc<dyn HeldKeys>>,
    pub(super) metrics: ConsumerMetrics,
}

impl Office {
    pub(super) fn new(
        settings: &ConsumerSettings,
        desk: SharedDesk,
        status: ConsumerStatus,
        producer: Producer,
    ) -> Self {
        let (group, held) = (settings.group, settings.held_keys.clone());
        Self { desk, status, group, producer, held, metrics: settings.metrics.clone() }
    }

    /// Puts the run to the handler, as far as the order of held keys allows it.
    async fn handle<S: Shape>(&self, shape: &S, run: &Run) -> Vec<Outcome> {
        let Some(held) = self.held.as_deref() else {
            return shape.handle(run, &run.jobs.iter().collect::<Vec<_>>(), self).await;
        };
        let mut outcomes = vec![Outcome::Untouched; run.jobs.len()];
        let places = match held::places(held, &run.jobs, self.group).await {
            Ok(places) => places,
            // The whole rest waits with the first.
            Err(reason) => {
                outcomes.iter_mut().take(1).for_each(|first| *first = Outcome::Unavailable(reason.clone()));
                return outcomes;
            }
        };
        let (mut handled, mut slots) = (Vec::new(), Vec::new());
        let turns = held::turns(&run.jobs, &places);
        for (((job, place), turn), slot) in run.jobs.iter().zip(places).zip(turns).zip(&mut outcomes) {
            match turn {
                Turn::Now => {
                    handled.push((job, place));
                    slots.push(slot);
                }
                Turn::Next => {}
                Turn::Never => *slot = Outcome::Behind,
            }
        }
        if !handled.is_empty() {
            let jobs: Vec<&Job> = handled.iter().map(|(job, _)| *job).collect();
            let mut answers = shape.handle(run, &jobs, self).await;
            held::release(held, &handled, &mut answers, self.group).await;
            slots.into_iter().zip(answers).for_each(|(slot, answer)| *slot = answer);
        }
        outcomes
    }

    /// The jobs are done with only once their dead letters are acknowledged.
    async fn bury(&self, jobs: &[Job]) -> Vec<Outcome> {
        if let Some(held) = self.held.as_deref()
            && let Err(reason) = held::hold(held, jobs, self.group).await
        {
            let failures = jobs.iter().map(Job::burial_failures).max().unwrap_or_default();
            if (failures + 1).is_power_of_two() {
                warn!(reason, "a key could not be held, its dead letter waits");
            }
            return vec![Outcome::Unburied(reason); jobs.len()];
        }
        let letters = jobs.iter().map(|job| {
            let reason = job.burial.as_ref().map_or("", |burial| burial.reason.as_str());
            let held = self.held.is_some() && !job.record.key().is_empty();
            letter(&job.record, self.group, reason, job.tries, held)
        });
        let spans: Vec<Span> = jobs.iter().map(|job| self.letter_span(job)).collect();
        let published = self.producer.publish(letters.collect()).await;
        let done = jobs.iter().zip(spans).zip(published);
        done.map(|((job, span), published)| self.buried(job, &span, published)).collect()
    }

    fn buried(&self, job: &Job, span: &Span, published: Result<(), crate::PublishError>) -> Outcome {
        let _entered = span.enter();
        let reason = job.burial.as_ref().map_or("", |burial| burial.reason.as_str());
        match published {
            Ok(()) => {
                error!(reason, attempts = job.tries, "message went to dead letters");
                self.status.dead_lettered_one();
                self.metrics.of.dead_letters.inc();
                Outcome::Buried
            }
            Err(error) => {
                if (job.burial_failures() + 1).is_power_of_two() {
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
                    Some(_) => office.handle(&*shape, &run).await,
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
    match catch_unwind(AssertUnwindSafe(|| decode(job.record.payload()))) {
        Ok(decoded) => decoded.map_err(|error| error.to_string()),
        Err(_) => Err("the decoder panicked".to_owned()),
    }
}

pub(super) fn delivery(job: &Job, office: &Office) -> Delivery {
    let Origin { replays, beyond_horizon, .. } = Origin::of(&job.record, office.group);
    Delivery {
        topic: job.record.topic.clone(),
        partition: job.record.partition,
        offset: job.record.offset,
        attempt: job.tries.saturating_add(1),
        replays,
        beyond_horizon,
        traceparent: traceparent(job).map(str::to_owned),
        ..Delivery::default()
    }
}

/// The answer of a handler; a panic is one too.
pub(super) async fn ask(handler: impl Future<Output = Answer> + Send) -> Answer {
    AssertUnwindSafe(handler)
        .catch_unwind()
        .await
        .unwrap_or_else(|_| Answer::Poison("the handler panicked".to_owned()))
}

pub(super) fn traceparent(job: &Job) -> Option<&str> {
    job.record.headers.as_ref().and_then(|all| headers::text(all, headers::TRACEPARENT))
}
