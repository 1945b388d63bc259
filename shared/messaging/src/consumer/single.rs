//! One record at a time.

use std::fmt::Display;
use std::time::Instant;

use tracing::{Instrument, warn};

use super::job::{Job, Outcome, Run};
use super::worker::{Office, Shape, ask, delivery, read};
use super::{Answer, Decode, Handler};

pub(super) struct Single<H: Handler, E> {
    pub(super) handler: H,
    pub(super) decode: Decode<H::Event, E>,
}

impl<H: Handler, E: Display + 'static> Shape for Single<H, E> {
    async fn handle(&self, _: &Run, jobs: &[&Job], office: &Office) -> Vec<Outcome> {
        let mut outcomes = Vec::with_capacity(jobs.len());
        for job in jobs {
            let span = office.span(job);
            let (outcome, repeat) = self.deliver(job, office).instrument(span.clone()).await;
            office.noted(job, &outcome, repeat, &span);
            outcomes.push(outcome);
        }
        outcomes
    }
}

impl<H: Handler, E: Display + 'static> Single<H, E> {
    /// What became of it, and whether it was a repeat.
    async fn deliver(&self, job: &Job, office: &Office) -> (Outcome, bool) {
        let event = match read(self.decode, job) {
            Ok(Some(event)) => event,
            Ok(None) => {
                office.status.skipped_one();
                return (Outcome::Skipped, false);
            }
            Err(reason) => return (Outcome::Undecodable(reason), false),
        };
        let delivery = delivery(job, office);
        let started = Instant::now();
        let answer = ask(self.handler.handle(&event, &delivery)).await;
        office.handled(1, started.elapsed(), Some(job));
        let outcome = match answer {
            Answer::Ok => Outcome::Done,
            Answer::Poison(reason) => Outcome::Poison(reason),
            Answer::Retry(reason) => {
                warn!(reason, attempt = delivery.attempt, "delivery failed");
                Outcome::Retry(reason)
            }
            Answer::Unavailable(reason) => Outcome::Unavailable(reason),
        };
        (outcome, delivery.is_repeat())
    }
}
