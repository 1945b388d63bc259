//! One record at a time.

use std::fmt::Display;

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
            outcomes.push(self.deliver(job, office).instrument(office.span(job)).await);
        }
        outcomes
    }
}

impl<H: Handler, E: Display + 'static> Single<H, E> {
    async fn deliver(&self, job: &Job, office: &Office) -> Outcome {
        let event = match read(self.decode, job) {
            Ok(Some(event)) => event,
            Ok(None) => {
                office.status.skipped_one();
                return Outcome::Skipped;
            }
            Err(reason) => return Outcome::Undecodable(reason),
        };
        let delivery = delivery(job, office);
        match ask(self.handler.handle(&event, &delivery)).await {
            Answer::Ok => Outcome::Done,
            Answer::Poison(reason) => Outcome::Poison(reason),
            Answer::Retry(reason) => {
                warn!(reason, attempt = delivery.attempt, "delivery failed");
                Outcome::Retry(reason)
            }
            Answer::Unavailable(reason) => Outcome::Unavailable(reason),
        }
    }
}
