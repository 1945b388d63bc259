//! Many records at a time, all or none.
//!
//! One batch at a time: while it commits, the next one gathers, so batches grow with the load by themselves and nothing waits
//! for company. Several at a time would mostly wait for each other's row locks.

use std::collections::HashSet;
use std::fmt::Display;

use tracing::{Instrument, warn};

use super::job::{Job, Outcome, Run};
use super::keys::Lane;
use super::worker::{Office, Shape, ask, delivery, read};
use super::{Answer, BatchHandler, Decode, Delivered};

pub(super) struct Batches<H: BatchHandler, E> {
    pub(super) handler: H,
    pub(super) decode: Decode<H::Event, E>,
}

/// Neighbours in a batch; `places` says where in the run they stand.
struct Part<T> {
    places: Vec<usize>,
    events: Vec<Delivered<T>>,
}

/// Keys whose records have to wait for one that did not succeed.
type Held = HashSet<(u64, Lane)>;

impl<H: BatchHandler, E: Display + 'static> Shape for Batches<H, E> {
    async fn handle(&self, run: &Run, jobs: &[&Job], office: &Office) -> Vec<Outcome> {
        // Whatever is not asked for stays as it is.
        let mut outcomes = vec![Outcome::Untouched; jobs.len()];
        let mut held = Held::new();
        let mut parts = vec![self.decode(jobs, office, &mut outcomes)];
        let mut asked = false;
        while let Some(part) = parts.pop() {
            let part = part.without(&held, jobs);
            if part.events.is_empty() {
                continue;
            }
            if asked {
                office.desk.touch(run);
            }
            asked = true;
            match self.ask(&part, jobs, office).await {
                Answer::Ok => part.places.iter().for_each(|place| set(&mut outcomes, *place, Outcome::Done)),
                // The whole rest waits with it.
                Answer::Unavailable(reason) => {
                    set(&mut outcomes, part.first(), Outcome::Unavailable(reason));
                    break;
                }
                answer => match part.halves() {
                    Ok((first, second)) => parts.extend([second, first]),
                    Err(alone) => {
                        held.extend(jobs.get(alone).and_then(|job| key(job)));
                        set(&mut outcomes, alone, failure(answer));
                    }
                },
            }
        }
        outcomes
    }
}

impl<H: BatchHandler, E: Display + 'static> Batches<H, E> {
    fn decode(&self, jobs: &[&Job], office: &Office, outcomes: &mut [Outcome]) -> Part<H::Event> {
        let mut part = Part { places: Vec::new(), events: Vec::new() };
        // Only what stands behind a record that cannot be read waits for it.
        let mut held = Held::new();
        for (place, job) in jobs.iter().enumerate() {
            if key(job).is_some_and(|key| held.contains(&key)) {
                continue;
            }
            match read(self.decode, job) {
                Ok(Some(event)) => {
                    part.places.push(place);
                    part.events.push(Delivered { event, delivery: delivery(job, office) });
                }
                Ok(None) => {
                    office.status.skipped_one();
                    set(outcomes, place, Outcome::Skipped);
                }
                Err(reason) => {
                    held.extend(key(job));
                    set(outcomes, place, Outcome::Undecodable(reason));
                }
            }
        }
        part
    }

    async fn ask(&self, part: &Part<H::Event>, jobs: &[&Job], office: &Office) -> Answer {
        let span = match (part.events.len(), jobs.get(part.first())) {
            (1, Some(job)) => office.span(job),
            (records, _) => office.batch_span(records),
        };
        async {
            let answer = ask(self.handler.handle_batch(&part.events)).await;
            if let Answer::Retry(reason) | Answer::Poison(reason) = &answer {
                warn!(reason, records = part.events.len(), "batch failed");
            }
            answer
        }
        .instrument(span)
        .await
    }
}

impl<T> Part<T> {
    fn first(&self) -> usize {
        self.places.first().copied().unwrap_or_default()
    }

    /// The part without the records of held keys.
    fn without(self, held: &Held, jobs: &[&Job]) -> Self {
        if held.is_empty() {
            return self;
        }
        let free =
            |place: &usize| !jobs.get(*place).and_then(|job| key(job)).is_some_and(|key| held.contains(&key));
        let (places, events) =
            self.places.into_iter().zip(self.events).filter(|(place, _)| free(place)).unzip();
        Self { places, events }
    }

    /// Two halves, or the place of the only record.
    fn halves(mut self) -> Result<(Self, Self), usize> {
        let middle = self.places.len() / 2;
        if middle == 0 {
            return Err(self.first());
        }
        let second = Self { places: self.places.split_off(middle), events: self.events.split_off(middle) };
        Ok((self, second))
    }
}

fn key(job: &Job) -> Option<(u64, Lane)> {
    job.lane.map(|lane| (job.epoch, lane))
}

fn set(outcomes: &mut [Outcome], place: usize, outcome: Outcome) {
    if let Some(slot) = outcomes.get_mut(place) {
        *slot = outcome;
    }
}

/// Of a record that stood alone.
fn failure(answer: Answer) -> Outcome {
    match answer {
        Answer::Ok => Outcome::Done,
        Answer::Retry(reason) => Outcome::Retry(reason),
        Answer::Poison(reason) => Outcome::Poison(reason),
        Answer::Unavailable(reason) => Outcome::Unavailable(reason),
    }
}
