//! The time from the first record that a handler gets to the last one that it is done with.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use tokio::sync::Notify;

use super::super::report::Spent;
use crate::usage::{Reading, Watched};

/// Started by the first record, stopped by the last. Joining the group is before its time.
pub(super) struct Clock {
    watched: Watched,
    start: OnceLock<(Instant, anyhow::Result<Reading>)>,
    records: usize,
    left: AtomicUsize,
    end: OnceLock<Instant>,
    over: Notify,
}

impl Clock {
    /// For so many records.
    pub(super) fn new(watched: Watched, records: usize) -> Self {
        let (start, end) = (OnceLock::new(), OnceLock::new());
        Self { watched, start, records, left: AtomicUsize::new(records), end, over: Notify::new() }
    }

    /// A record is in the hands of its handler. What the processes used until then is read first, and is not in the time.
    pub(super) fn start(&self) {
        self.start.get_or_init(|| {
            let reading = self.watched.read();
            (Instant::now(), reading)
        });
    }

    /// So many more are done.
    pub(super) fn done(&self, records: usize, at: Instant) {
        if self.left.fetch_sub(records, Ordering::Relaxed) == records {
            self.end.set(at).ok();
            self.over.notify_one();
        }
    }

    /// Waits until all are done; how long that took, and what was used. Everything is waited for by one.
    pub(super) async fn over(&self) -> anyhow::Result<(Duration, Spent)> {
        self.over.notified().await;
        let (start, reading) = self.start.get().context("the clock has not started")?;
        let end = self.end.get().context("the clock has not stopped")?;
        let reading = reading.as_ref().map_err(|error| anyhow!("{error:#}"))?;
        Ok((end.duration_since(*start), self.watched.since(reading, self.records as u64)?))
    }
}
