//! What follows from the outcome of a run. No I/O.

use std::time::Instant;

use super::availability::Pass;
use super::job::{Burial, Job, Outcome, Run};
use super::keys::Lane;
use super::scheduler::Scheduler;

const BEHIND: &str = "key held: an earlier record of the key is in dead letters";

/// What became known by settling, for logs and health.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct News {
    /// A dependency is away: why, and for the how manieth probe.
    pub(super) away: Option<(String, u32)>,
    /// Too many dead letters: nothing begins until an operator says so.
    pub(super) too_many_letters: Option<String>,
    /// Why a dead letter was not taken.
    pub(super) unburied: Option<String>,
}

/// What is to be done with a job that is not finished.
enum Next {
    Again,
    At(Instant),
    Bury,
}

impl Scheduler {
    /// Takes a run back, with one outcome for each of its jobs.
    pub(super) fn settle(&mut self, run: Run, outcomes: Vec<Outcome>, now: Instant) -> News {
        if self.runs.remove(&run.id).is_some_and(|running| running.for_handler) {
            self.handling -= 1;
        }
        let mut news = News::default();
        let mut silent = true;
        let mut group = Group::default();
        for (mut job, outcome) in run.jobs.into_iter().zip(outcomes) {
            silent &= !outcome.is_answer();
            let was_unburied = job.burial_failures() > 0;
            let next = self.judge(&mut job, outcome, run.pass, now, &mut news);
            let Some(partition) = self.partitions.get_mut(&job.epoch) else { continue };
            partition.running -= 1;
            if next.is_none() {
                partition.ledger.finish(job.record.offset);
                partition.unburied -= usize::from(was_unburied);
            } else {
                partition.unburied += usize::from(!was_unburied && job.burial_failures() > 0);
            }
            if next.is_none() || partition.closing {
                let size = job.record.size();
                partition.held -= 1;
                partition.bytes -= size;
                self.bytes -= size;
            }
            if !partition.closing {
                self.hand_on(&mut group, job, next);
            }
        }
        self.leave(&mut group);
        if silent && let Some(pass) = run.pass {
            self.availability.silent(pass);
        }
        news
    }

    /// `None`: finished.
    fn judge(
        &mut self,
        job: &mut Job,
        outcome: Outcome,
        pass: Option<Pass>,
        now: Instant,
        news: &mut News,
    ) -> Option<Next> {
        if outcome.is_answer() {
            job.tries = job.tries.saturating_add(1);
        }
        match (outcome, pass) {
            (Outcome::Done, _) => {
                self.availability.definite(self.handling);
                None
            }
            (Outcome::Skipped | Outcome::Buried, _) => None,
            (Outcome::Undecodable(reason), _) => {
                job.burial = Some(Burial { reason, failures: 0 });
                Some(Next::Bury)
            }
            // As little a failure of this one as what cannot be read is one of the handler: neither counts towards the limit.
            (Outcome::Behind, _) => {
                job.burial = Some(Burial { reason: BEHIND.to_owned(), failures: 0 });
                Some(Next::Bury)
            }
            (Outcome::Poison(reason), _) => {
                self.availability.definite(self.handling);
                Some(self.bury(job, reason, now, news))
            }
            (Outcome::Retry(reason), Some(pass)) => {
                if !self.availability.transient(pass, now) {
                    news.away = self.availability.away().map(|probes| (reason, probes));
                    return Some(Next::Again);
                }
                job.failures += 1;
                if job.failures >= self.rules.retry.retry_max_attempts {
                    return Some(self.bury(job, reason, now, news));
                }
                Some(Next::At(now + self.rules.retry.wait_after(job.failures)))
            }
            (Outcome::Unavailable(reason), Some(pass)) => {
                self.availability.unavailable(pass, now);
                news.away = self.availability.away().map(|probes| (reason, probes));
                Some(Next::Again)
            }
            (Outcome::Unburied(reason), _) => {
                news.unburied = Some(reason);
                let failures = job.burial.as_mut().map_or(1, |burial| {
                    burial.failures = burial.failures.saturating_add(1);
                    burial.failures
                });
                Some(Next::At(now + self.rules.retry.wait_after(failures)))
            }
            (Outcome::Untouched | Outcome::Retry(_) | Outcome::Unavailable(_), _) => {
                Some(if job.burial.is_some() { Next::Bury } else { Next::Again })
            }
        }
    }

    /// To dead letters, unless there were too many. Then it is asked again once an operator has looked: perhaps nothing was wrong
    /// with the records.
    fn bury(&mut self, job: &mut Job, reason: String, now: Instant, news: &mut News) -> Next {
        if self.letters.admits(now) {
            job.burial = Some(Burial { reason, failures: 0 });
            return Next::Bury;
        }
        self.paused = true;
        job.failures = 0;
        let limit = self.rules.dead_letters_per_minute;
        news.too_many_letters =
            Some(format!("more than {limit} dead letters in a minute, the next one would be: {reason}"));
        Next::Again
    }

    /// Jobs of one lane come one after another. The first unfinished one goes on holding it, those after it queue again;
    /// if all are finished the lane goes to the next in the queue.
    fn hand_on(&mut self, group: &mut Group, job: Job, next: Option<Next>) {
        let lane = job.lane.map(|lane| (job.epoch, lane));
        if lane.is_none() || lane != group.lane {
            self.leave(group);
            group.lane = lane;
        }
        let Some(next) = next else {
            self.take_up(job.epoch);
            return;
        };
        if group.held {
            // A backoff of its own is forgotten: what it waits for takes its time too.
            group.queue.push(job);
            return;
        }
        group.held = lane.is_some();
        match next {
            Next::Again => self.ready.push_back(job),
            Next::Bury => self.burials.push_back(job),
            Next::At(time) => {
                // Two jobs may be due at the same instant.
                let number = self.next_number();
                self.delayed.insert((time, number), job);
            }
        }
    }

    fn leave(&mut self, group: &mut Group) {
        let Group { lane, held, queue } = std::mem::take(group);
        let Some((epoch, lane)) = lane else { return };
        let Some(partition) = self.partitions.get_mut(&epoch) else { return };
        if held {
            queue.into_iter().rev().for_each(|job| partition.keys.put_back(Some(lane), job));
        } else {
            let next = partition.keys.pass_on(Some(lane));
            next.into_iter().for_each(|job| self.make_ready(job));
        }
    }
}

/// The jobs of one lane within a run.
#[derive(Default)]
struct Group {
    lane: Option<(u64, Lane)>,
    /// By an unfinished job.
    held: bool,
    queue: Vec<Job>,
}
