//! Where the polling thread and the workers meet: the scheduler behind one lock, which is taken once when a record comes and once
//! when its run ends.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::job::{Outcome, Record, Run};
use super::partition::Position;
use super::scheduler::{Rules, Scheduler};
use super::settle::News;
use super::status::ConsumerStatus;

pub(super) struct Desk {
    scheduler: Mutex<Scheduler>,
    /// Told whenever a run ends while partitions are being given up.
    ended: Condvar,
    /// Runs that need a worker of their own; never more than the scheduler lets run at a time.
    starts: mpsc::UnboundedSender<Run>,
    status: ConsumerStatus,
    drain: Duration,
    stuck_after: Duration,
}

impl Desk {
    pub(super) fn new(
        rules: Rules,
        starts: mpsc::UnboundedSender<Run>,
        status: ConsumerStatus,
        drain: Duration,
        stuck_after: Duration,
    ) -> Self {
        let scheduler = Mutex::new(Scheduler::new(rules));
        Self { scheduler, ended: Condvar::new(), starts, status, drain, stuck_after }
    }

    fn lock(&self) -> MutexGuard<'_, Scheduler> {
        self.scheduler.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Partitions are ours from now on.
    pub(super) fn assign(&self, list: &TopicPartitionList) {
        let mut scheduler = self.lock();
        for partition in list.elements() {
            scheduler.assign(partition.topic(), partition.partition());
        }
    }

    /// Takes a record in. `true`: pause its partition.
    pub(super) fn admit(&self, record: Record) -> bool {
        let mut scheduler = self.lock();
        let pause = scheduler.admit(record);
        self.start_workers(&mut scheduler, Instant::now());
        pause
    }

    /// Takes a run back from its worker and gives it the next.
    pub(super) fn settle(&self, run: Run, outcomes: Vec<Outcome>) -> Option<Run> {
        let token = run.cut_off.clone();
        let now = Instant::now();
        let mut scheduler = self.lock();
        let news = scheduler.settle(run, outcomes, now);
        self.note(&scheduler, news);
        scheduler.set_paused(self.status.is_paused());
        let next =
            scheduler.start(now, || if token.is_cancelled() { CancellationToken::new() } else { token });
        if next.is_some() {
            self.start_workers(&mut scheduler, now);
        }
        if scheduler.closing > 0 {
            self.ended.notify_all();
        }
        next
    }

    /// The run asks its handler again.
    pub(super) fn touch(&self, run: &Run) {
        self.lock().touch(run.id, Instant::now());
    }

    /// What time brings: ends of backoffs, probes, an operator's word. `true`: it is worth coming back soon.
    pub(super) fn tick(&self) -> bool {
        let now = Instant::now();
        let mut scheduler = self.lock();
        self.start_workers(&mut scheduler, now);
        let oldest = scheduler.oldest_run().map(|since| now.saturating_duration_since(since));
        let held = scheduler.partitions.values().map(|partition| partition.held).sum();
        self.status.holds(scheduler.partitions.len(), held);
        if scheduler.unburied() == 0 {
            self.status.unburied(None);
        }
        self.status.stuck(oldest.filter(|age| *age >= self.stuck_after));
        scheduler.any_paused() || !scheduler.delayed.is_empty() || scheduler.availability.away().is_some()
    }

    fn start_workers(&self, scheduler: &mut Scheduler, now: Instant) {
        scheduler.set_paused(self.status.is_paused());
        while let Some(run) = scheduler.start(now, CancellationToken::new) {
            // Nobody receives only when the consumer is going down.
            self.starts.send(run).ok();
        }
    }

    fn note(&self, scheduler: &Scheduler, news: News) {
        if let Some(reason) = news.too_many_letters {
            error!(reason, "too many dead letters, nothing more is handled until an operator resumes");
            self.status.pause_for_letters(reason);
        }
        if news.unburied.is_some() {
            self.status.unburied(news.unburied);
        }
        if let Some((reason, probes)) = news.away {
            self.status.away(&reason, probes);
            // Logged when it begins and then rarely: an outage of an hour is one story, not a line per probe.
            if probes.is_power_of_two() {
                warn!(reason, probes, "a dependency is away, waiting for it");
            }
        } else if scheduler.availability.away().is_none() && self.status.back() {
            info!("the dependency answers again");
        }
    }

    /// Partitions that may be fetched again.
    pub(super) fn resumable(&self) -> Option<TopicPartitionList> {
        let resumed = self.lock().resumable();
        let mut list = TopicPartitionList::new();
        for (topic, number) in &resumed {
            list.add_partition(topic, *number);
        }
        (!resumed.is_empty()).then_some(list)
    }

    /// Offsets to commit: those that moved since the last call, or all.
    pub(super) fn offsets(&self, all: bool) -> Option<TopicPartitionList> {
        offsets(&self.lock().positions(all))
    }

    /// Gives up partitions (all if `list` is `None`): stops intake, ends backoffs, lets running handlers finish until the drain deadline, and
    /// returns the offsets to commit. `lost`: they belong to others already, so nothing is waited for. Blocks the polling thread.
    pub(super) fn give_up(
        &self,
        list: Option<&TopicPartitionList>,
        lost: bool,
    ) -> Option<TopicPartitionList> {
        let mut scheduler = self.lock();
        let epochs = scheduler
            .close(|topic, number| list.is_none_or(|list| list.find_partition(topic, number).is_some()));
        let drain = if lost { Duration::ZERO } else { self.drain };
        let (mut scheduler, waited) = self
            .ended
            .wait_timeout_while(scheduler, drain, |scheduler| scheduler.running(&epochs) > 0)
            .unwrap_or_else(PoisonError::into_inner);
        if waited.timed_out() {
            let running = scheduler.running(&epochs);
            warn!(
                records = running,
                "handlers did not finish in time, their records will be delivered again"
            );
            scheduler.cut_off(&epochs);
        }
        offsets(&scheduler.forget(&epochs))
    }
}

fn offsets(positions: &[Position]) -> Option<TopicPartitionList> {
    let mut list = TopicPartitionList::new();
    for (topic, number, offset) in positions {
        // Adding an offset fails only for values below zero.
        list.add_partition_offset(topic, *number, Offset::Offset(*offset)).ok();
    }
    (!positions.is_empty()).then_some(list)
}

/// Shared between the polling thread, its callbacks and the workers.
pub(super) type SharedDesk = Arc<Desk>;
