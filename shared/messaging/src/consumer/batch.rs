//! Many records at a time, all or none.
//!
//! One batch at a time: while it commits, the next one gathers, so batches grow with the load by themselves and nothing waits
//! for company. Several at a time would mostly wait for each other's row locks.

use std::collections::HashSet;
use std::fmt::Display;
use std::time::Instant;

use telemetry::span::Call;
use tracing::{Instrument, warn};

use super::job::{Job, Outcome, Run};
use super::keys::Lane;
use super::spans::Verdict;
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
                        set(&mut outcomes, alone, outcome(&answer));
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
                    office.count(job, &Outcome::Skipped, false);
                    set(outcomes, place, Outcome::Skipped);
                }
                Err(reason) => {
                    held.extend(key(job));
                    let outcome = Outcome::Undecodable(reason);
                    office.noted(job, &outcome, false, &office.span(job));
                    set(outcomes, place, outcome);
                }
            }
        }
        part
    }

    async fn ask(&self, part: &Part<H::Event>, jobs: &[&Job], office: &Office) -> Answer {
        let mine: Vec<&Job> = part.places.iter().filter_map(|place| jobs.get(*place).copied()).collect();
        let alone = if let [job] = mine.as_slice() { Some(*job) } else { None };
        let span = alone.map_or_else(|| office.batch_span(mine.iter().copied()), |job| office.span(job));
        let calls: Vec<Call> = match alone {
            Some(_) => Vec::new(),
            None => mine.iter().map(|job| office.span_in_batch(job, &span)).collect(),
        };
        let started = Instant::now();
        let answer = async {
            let answer = ask(self.handler.handle_batch(&part.events)).await;
            if let Answer::Retry(reason) | Answer::Poison(reason) = &answer {
                warn!(reason, records = part.events.len(), "batch failed");
            }
            answer
        }
        .instrument(span.clone())
        .await;
        office.handled(mine.len(), started.elapsed(), mine.first().copied());
        let outcome = outcome(&answer);
        match (alone, &answer) {
            (Some(job), _) => {
                office.noted(job, &outcome, part.events.iter().any(|one| one.delivery.is_repeat()), &span);
            }
            (None, Answer::Retry(reason) | Answer::Poison(reason)) => {
                Verdict::in_failed_batch(reason).on_span(&span);
                office.split(reason, calls);
            }
            (None, Answer::Ok | Answer::Unavailable(_)) => {
                Verdict::of(&outcome, false).on_span(&span);
                for ((job, one), call) in mine.iter().zip(&part.events).zip(calls) {
                    office.noted_in_batch(job, &outcome, one.delivery.is_repeat(), call);
                }
            }
        }
        answer
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

fn outcome(answer: &Answer) -> Outcome {
    match answer.clone() {
        Answer::Ok => Outcome::Done,
        Answer::Retry(reason) => Outcome::Retry(reason),
        Answer::Poison(reason) => Outcome::Poison(reason),
        Answer::Unavailable(reason) => Outcome::Unavailable(reason),
    }
}
