//! Decides which record is worked on when. No I/O, no tasks; the clock is the caller's.
//!
//! A record enters through [`Scheduler::admit`], leaves in a [`Run`] for a worker, and comes back with its outcome through
//! `Scheduler::settle`, which finishes it in its partition's ledger or says what is next: again, later, or to dead letters.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use tokio_util::sync::CancellationToken;

use super::availability::Availability;
use super::job::{Job, Record, Run};
use super::keys::Lanes;
use super::letter_rate::LetterRate;
use super::partition::{Partition, Position};
use crate::settings::RetrySettings;

/// What bounds a scheduler.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    pub(super) retry: RetrySettings,
    /// Runs at a time.
    pub(super) runs: usize,
    /// Records and bytes in a run; a record that is larger is a run of its own.
    pub(super) run_records: usize,
    pub(super) run_bytes: usize,
    /// Unfinished records of a partition at which fetching pauses, and at which it goes on.
    pub(super) high: usize,
    pub(super) low: usize,
    /// Bytes of all unfinished records at which fetching pauses; it goes on at half of it.
    pub(super) held_bytes: usize,
    /// Offsets between a partition's oldest unfinished record and its newest.
    pub(super) window: u32,
    pub(super) dead_letters_per_minute: u32,
}

/// A run in the hands of a worker.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) since: Instant,
    pub(super) for_handler: bool,
    /// Assignments of its jobs.
    epochs: Vec<u64>,
    cut_off: CancellationToken,
}

#[derive(Debug)]
pub(super) struct Scheduler {
    pub(super) rules: Rules,
    lanes: Lanes,
    /// By epoch: each assignment has a number of its own.
    pub(super) partitions: BTreeMap<u64, Partition>,
    epochs: u64,
    /// Jobs that may run; each holds its lane.
    pub(super) ready: VecDeque<Job>,
    /// Jobs on their way to dead letters. They wait for no dependency of the handler.
    pub(super) burials: VecDeque<Job>,
    /// Jobs in backoff, by the time it ends.
    pub(super) delayed: BTreeMap<(Instant, u64), Job>,
    pub(super) runs: BTreeMap<u64, Running>,
    /// Runs of the handler among them.
    pub(super) handling: usize,
    numbers: u64,
    pub(super) bytes: usize,
    pub(super) availability: Availability,
    pub(super) letters: LetterRate,
    pub(super) paused: bool,
    /// Assignments that are being given up.
    pub(super) closing: usize,
}

impl Scheduler {
    pub(super) fn new(rules: Rules) -> Self {
        Self {
            lanes: Lanes::default(),
            partitions: BTreeMap::new(),
            epochs: 0,
            ready: VecDeque::new(),
            burials: VecDeque::new(),
            delayed: BTreeMap::new(),
            runs: BTreeMap::new(),
            handling: 0,
            numbers: 0,
            bytes: 0,
            availability: Availability::new(rules.retry.clone(), rules.runs),
            letters: LetterRate::new(rules.dead_letters_per_minute),
            paused: false,
            closing: 0,
            rules,
        }
    }

    /// A partition is ours from now on.
    pub(super) fn assign(&mut self, topic: &str, number: i32) {
        // librdkafka revokes first; should it not, the new assignment counts.
        let stale = self.close(|of, partition| of == topic && partition == number);
        self.forget(&stale);
        self.epochs += 1;
        self.partitions.insert(self.epochs, Partition::new(topic.into(), number, self.rules.window));
    }

    /// Takes a record in. `true`: a high mark is reached, pause the partition. A record of a partition that is not ours is dropped:
    /// its owner gets it too.
    pub(super) fn admit(&mut self, record: Record) -> bool {
        let Some((&epoch, partition)) =
            self.partitions.iter_mut().find(|(_, p)| !p.closing && p.is(&record.topic, record.partition))
        else {
            return false;
        };
        let size = record.size();
        self.bytes += size;
        partition.bytes += size;
        partition.held += 1;
        partition.aside.push_back(record);
        self.take_up(epoch);
        let Some(partition) = self.partitions.get_mut(&epoch) else { return false };
        let full = self.bytes >= self.rules.held_bytes || partition.held >= self.rules.high;
        let pause = !partition.paused && (full || !partition.aside.is_empty());
        partition.paused |= pause;
        pause
    }

    /// Moves what the ledger has room for to where it may run.
    pub(super) fn take_up(&mut self, epoch: u64) {
        let Some(partition) = self.partitions.get_mut(&epoch) else { return };
        while let Some(record) = partition.aside.pop_front() {
            if partition.ledger.begin(record.offset).is_err() {
                partition.aside.push_front(record);
                return;
            }
            // The broker knows where we began.
            partition.committed.get_or_insert(record.offset);
            let lane = self.lanes.of(record.key());
            let job = Job { epoch, lane, record, tries: 0, failures: 0, burial: None };
            self.ready.extend(partition.keys.enter(lane, job));
        }
    }

    /// Paused partitions that fell below the low mark; from now on they count as fetched.
    pub(super) fn resumable(&mut self) -> Vec<(Arc<str>, i32)> {
        if self.bytes > self.rules.held_bytes / 2 {
            return Vec::new();
        }
        let low = self.rules.low;
        let mut resumed = Vec::new();
        for partition in self.partitions.values_mut() {
            if partition.paused && partition.held <= low && partition.aside.is_empty() {
                partition.paused = false;
                resumed.push((partition.topic.clone(), partition.number));
            }
        }
        resumed
    }

    /// Whether a partition waits to be resumed.
    pub(super) fn any_paused(&self) -> bool {
        self.partitions.values().any(|partition| partition.paused)
    }

    /// Records whose dead letters were not taken so far.
    pub(super) fn unburied(&self) -> usize {
        self.partitions.values().map(|partition| partition.unburied).sum()
    }

    /// Stops handing records to the handler, or goes on; those it has may finish.
    pub(super) fn set_paused(&mut self, paused: bool) {
        if self.paused && !paused {
            self.letters.forget();
        }
        self.paused = paused;
    }

    /// The next run, if one may begin; `cut_off` makes the token that ends it.
    pub(super) fn start(&mut self, now: Instant, cut_off: impl FnOnce() -> CancellationToken) -> Option<Run> {
        while self.delayed.first_key_value().is_some_and(|((due, _), _)| *due <= now) {
            let Some((_, job)) = self.delayed.pop_first() else { break };
            self.make_ready(job);
        }
        if self.runs.len() >= self.rules.runs {
            return None;
        }
        let (jobs, pass) = if !self.burials.is_empty() {
            let count = self.burials.len().min(self.rules.run_records);
            (self.burials.drain(..count).collect(), None)
        } else if !self.paused && !self.ready.is_empty() {
            let pass = self.availability.start(self.handling, now)?;
            (self.gather(), Some(pass))
        } else {
            return None;
        };
        let mut epochs: Vec<u64> = jobs.iter().map(|job: &Job| job.epoch).collect();
        for epoch in &epochs {
            if let Some(partition) = self.partitions.get_mut(epoch) {
                partition.running += 1;
            }
        }
        epochs.dedup();
        self.handling += usize::from(pass.is_some());
        let cut_off = cut_off();
        let running = Running { since: now, for_handler: pass.is_some(), epochs, cut_off: cut_off.clone() };
        let id = self.next_number();
        self.runs.insert(id, running);
        Some(Run { id, jobs, pass, cut_off })
    }

    /// For the handler, or for dead letters if that is decided.
    pub(super) fn make_ready(&mut self, job: Job) {
        if job.burial.is_some() { self.burials.push_back(job) } else { self.ready.push_back(job) }
    }

    pub(super) fn next_number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    /// As many jobs as are there and fit into a run. The first of a key is followed by those that queue behind it.
    fn gather(&mut self) -> Vec<Job> {
        let (most, most_bytes) = (self.rules.run_records, self.rules.run_bytes);
        let mut jobs: Vec<Job> = Vec::new();
        let mut bytes = 0;
        while jobs.len() < most
            && let Some(first) =
                self.ready.pop_front_if(|job| bytes == 0 || bytes + job.record.size() <= most_bytes)
        {
            let (epoch, lane) = (first.epoch, first.lane);
            bytes += first.record.size();
            jobs.push(first);
            let Some(partition) = self.partitions.get_mut(&epoch) else { continue };
            while jobs.len() < most
                && let Some(next) = partition
                    .keys
                    .follow(lane, |job| job.burial.is_none() && bytes + job.record.size() <= most_bytes)
            {
                bytes += next.record.size();
                jobs.push(next);
            }
        }
        jobs
    }

    /// The run asks the handler again: its time starts anew.
    pub(super) fn touch(&mut self, run: u64, now: Instant) {
        if let Some(running) = self.runs.get_mut(&run) {
            running.since = now;
        }
    }

    /// When the handler's oldest run began.
    pub(super) fn oldest_run(&self) -> Option<Instant> {
        self.runs.values().filter(|run| run.for_handler).map(|run| run.since).min()
    }

    /// Partitions are being given up: what is queued or in backoff is dropped, running jobs may finish. Returns the epochs.
    pub(super) fn close(&mut self, lost: impl Fn(&str, i32) -> bool) -> Vec<u64> {
        let mut closed = Vec::new();
        for (epoch, partition) in &mut self.partitions {
            if !partition.closing && lost(&partition.topic, partition.number) {
                partition.closing = true;
                partition.keys = Default::default();
                partition.aside.clear();
                closed.push(*epoch);
            }
        }
        self.closing += closed.len();
        let stays = |job: &Job| !closed.contains(&job.epoch);
        self.ready.retain(stays);
        self.burials.retain(stays);
        self.delayed.retain(|_, job| stays(job));
        closed
    }

    /// Jobs of these assignments in the hands of workers.
    pub(super) fn running(&self, epochs: &[u64]) -> usize {
        epochs.iter().filter_map(|epoch| self.partitions.get(epoch)).map(|partition| partition.running).sum()
    }

    /// Ends the runs that have to do with these assignments.
    pub(super) fn cut_off(&self, epochs: &[u64]) {
        for run in self.runs.values() {
            if run.epochs.iter().any(|epoch| epochs.contains(epoch)) {
                run.cut_off.cancel();
            }
        }
    }

    /// Forgets closed assignments and says how far they came. Whatever a straggler reports later changes nothing.
    pub(super) fn forget(&mut self, epochs: &[u64]) -> Vec<Position> {
        let mut positions = Vec::new();
        for epoch in epochs {
            if let Some(mut partition) = self.partitions.remove(epoch) {
                self.closing -= 1;
                self.bytes = self.bytes.saturating_sub(partition.bytes);
                positions.extend(partition.position(true));
            }
        }
        positions
    }

    /// Frontiers that moved since they were asked for last, or all of them.
    pub(super) fn positions(&mut self, all: bool) -> Vec<Position> {
        self.partitions.values_mut().filter_map(|partition| partition.position(all)).collect()
    }
}

#[cfg(test)]
mod tests;
