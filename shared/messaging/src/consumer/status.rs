//! What health checks, operators and tests can see of a running consumer, and what operators can tell it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A poll takes a fraction of a second, giving partitions up some seconds; a thread that has not come round for this long is stuck.
const STUCK_AFTER: Duration = Duration::from_secs(30);

/// Shared view of one consumer. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct ConsumerStatus(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    joined: AtomicBool,
    skipped: AtomicU64,
    dead_letters: AtomicU64,
    probes: AtomicU64,
    held: AtomicU64,
    assigned: AtomicU64,
    paused: AtomicBool,
    /// An operator wants the group left.
    out: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    last_poll: Option<Instant>,
    stuck: Option<Duration>,
    away: Option<String>,
    /// Why dead letters cannot be written.
    unburied: Option<String>,
    /// Why, while `Shared::paused` is set.
    paused: Option<String>,
    /// Why the consumer paused by itself.
    too_many_letters: Option<String>,
}

impl ConsumerStatus {
    /// Whether the consumer moves: its polling thread comes round, and no handler has been at one record, or one batch, for longer
    /// than the settings allow. Records that wait, for a backoff, a dependency or an operator, are not stuck. Looks at no dependency;
    /// true before the first poll.
    pub fn is_live(&self) -> bool {
        let state = self.state();
        state.stuck.is_none() && state.last_poll.is_none_or(|last| last.elapsed() < STUCK_AFTER)
    }

    /// Whether the consumer has joined its group, or stays out because an operator said so.
    pub fn ready(&self) -> Result<(), String> {
        if self.0.joined.load(Ordering::Relaxed) || self.stays_out() {
            Ok(())
        } else {
            Err("has not joined its consumer group yet".to_owned())
        }
    }

    /// Whether records are handed to the handler, and dead letters are written; the error says what they wait for: an operator, a
    /// dependency, or Kafka.
    pub fn flowing(&self) -> Result<(), String> {
        let state = self.state();
        match (&state.paused, &state.away, &state.unburied) {
            (Some(reason), _, _) => Err(format!("paused: {reason}")),
            (None, Some(reason), _) => Err(format!("waiting for a dependency: {reason}")),
            (None, None, Some(reason)) => Err(format!("a dead letter cannot be written: {reason}")),
            (None, None, None) => Ok(()),
        }
    }

    /// Why the consumer paused by itself, until it is resumed: it has written more dead letters than it may.
    pub fn too_many_dead_letters(&self) -> Option<String> {
        self.state().too_many_letters.clone()
    }

    /// Events of unknown types that were skipped since the start.
    pub fn skipped(&self) -> u64 {
        self.0.skipped.load(Ordering::Relaxed)
    }

    /// Records sent to dead letters since the start.
    pub fn dead_letters(&self) -> u64 {
        self.0.dead_letters.load(Ordering::Relaxed)
    }

    /// Probes of the outage that goes on, or of the latest one.
    pub fn probes(&self) -> u64 {
        self.0.probes.load(Ordering::Relaxed)
    }

    /// Records in memory that are not finished: in the handler, queued, in backoff.
    pub fn held(&self) -> u64 {
        self.0.held.load(Ordering::Relaxed)
    }

    /// Partitions that are this consumer's.
    pub fn assigned(&self) -> u64 {
        self.0.assigned.load(Ordering::Relaxed)
    }

    /// What an operator may tell this consumer.
    pub fn control(&self) -> ConsumerControl {
        ConsumerControl(self.clone())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn joined(&self, joined: bool) {
        self.0.joined.store(joined, Ordering::Relaxed);
    }

    pub(super) fn polled(&self) {
        self.state().last_poll = Some(Instant::now());
    }

    /// How long the oldest handler has been running, if that is too long.
    pub(super) fn stuck(&self, stuck: Option<Duration>) {
        let mut state = self.state();
        if let Some(running) = stuck
            && state.stuck.is_none()
        {
            tracing::error!(seconds = running.as_secs(), "a handler is stuck");
        }
        state.stuck = stuck;
    }

    /// A dependency is away: why, and after how many probes.
    pub(super) fn away(&self, reason: &str, probes: u32) {
        self.0.probes.store(probes.into(), Ordering::Relaxed);
        self.state().away = Some(reason.to_owned());
    }

    /// No dependency is away. `true`: one was.
    pub(super) fn back(&self) -> bool {
        self.state().away.take().is_some()
    }

    /// Why dead letters cannot be written; `None`: none waits.
    pub(super) fn unburied(&self, reason: Option<String>) {
        self.state().unburied = reason;
    }

    pub(super) fn pause_for_letters(&self, reason: String) {
        let mut state = self.state();
        state.too_many_letters = Some(reason.clone());
        state.paused.get_or_insert(reason);
        self.0.paused.store(true, Ordering::SeqCst);
    }

    pub(super) fn stays_out(&self) -> bool {
        self.0.out.load(Ordering::SeqCst)
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.0.paused.load(Ordering::SeqCst)
    }

    pub(super) fn holds(&self, partitions: usize, records: usize) {
        self.0.assigned.store(partitions as u64, Ordering::Relaxed);
        self.0.held.store(records as u64, Ordering::Relaxed);
    }

    pub(super) fn skipped_one(&self) {
        self.0.skipped.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn dead_lettered_one(&self) {
        self.0.dead_letters.fetch_add(1, Ordering::Relaxed);
    }
}

/// Stops and resumes one consumer. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ConsumerControl(ConsumerStatus);

impl ConsumerControl {
    /// Hands nothing more to the handler, drains as on a rebalance, and leaves the group: once all its consumers are paused the group is
    /// empty, and its offsets can be altered. The reason shows in [`ConsumerStatus::flowing`].
    pub fn pause(&self, reason: impl Into<String>) {
        let mut state = self.0.state();
        state.paused = Some(reason.into());
        self.0.0.paused.store(true, Ordering::SeqCst);
        self.0.0.out.store(true, Ordering::SeqCst);
    }

    /// Joins again after [`Self::pause`], or goes on after too many dead letters, which are counted from zero again.
    pub fn resume(&self) {
        let mut state = self.0.state();
        state.paused = None;
        state.too_many_letters = None;
        self.0.0.out.store(false, Ordering::SeqCst);
        self.0.0.paused.store(false, Ordering::SeqCst);
    }
}
