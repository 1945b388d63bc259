//! What health checks and tests can see of a running consumer.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A poll takes a fraction of a second; a thread that has not come round for this long is stuck.
const STUCK_AFTER: Duration = Duration::from_secs(30);

/// Shared view of one consumer. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct ConsumerStatus(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    joined: AtomicBool,
    last_poll: Mutex<Option<Instant>>,
    skipped: AtomicU64,
    dead_letters: AtomicU64,
    waiting: AtomicU64,
}

impl ConsumerStatus {
    /// Whether the polling thread comes round. Looks at no dependency; true before the first poll.
    pub fn is_live(&self) -> bool {
        let last = *self.0.last_poll.lock().unwrap_or_else(PoisonError::into_inner);
        last.is_none_or(|last| last.elapsed() < STUCK_AFTER)
    }

    /// Whether the consumer has joined its group.
    pub fn ready(&self) -> Result<(), String> {
        if self.0.joined.load(Ordering::Relaxed) {
            Ok(())
        } else {
            Err("has not joined its consumer group yet".to_owned())
        }
    }

    /// Events of unknown types that were skipped since the start.
    pub fn skipped(&self) -> u64 {
        self.0.skipped.load(Ordering::Relaxed)
    }

    /// Records sent to dead letters since the start.
    pub fn dead_letters(&self) -> u64 {
        self.0.dead_letters.load(Ordering::Relaxed)
    }

    /// Partitions that wait for a dependency right now.
    pub fn waiting(&self) -> u64 {
        self.0.waiting.load(Ordering::Relaxed)
    }

    pub(super) fn joined(&self) {
        self.0.joined.store(true, Ordering::Relaxed);
    }

    pub(super) fn polled(&self) {
        *self.0.last_poll.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    pub(super) fn skipped_one(&self) {
        self.0.skipped.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn dead_lettered_one(&self) {
        self.0.dead_letters.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts as waiting until dropped.
    pub(super) fn wait(&self) -> Waiting {
        self.0.waiting.fetch_add(1, Ordering::Relaxed);
        Waiting(self.clone())
    }
}

pub(super) struct Waiting(ConsumerStatus);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}
