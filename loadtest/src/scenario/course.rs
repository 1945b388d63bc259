//! One load from beginning to end, watched second by second.

use std::time::Duration;

use anyhow::Context;
use chrono::Utc;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until};

use crate::load::drive::{self, Load, Users};
use crate::load::journal::Second;
use crate::load::latency::Summary;
use crate::load::schedule::Schedule;
use crate::load::watch::{Named, Watch};
use crate::report::run::{Run, Span, percent, whole};

/// How the load is made.
#[derive(Clone, Debug)]
pub enum Drive {
    /// By users who wait for their answers.
    Closed {
        /// Who they are.
        users: Users,
        /// How long they ask.
        length: Duration,
    },
    /// By requests that come at their times.
    Open {
        /// When they come.
        schedule: Schedule,
        /// How many may be on their way.
        in_flight: usize,
    },
}

/// A load, and who is watched meanwhile.
#[derive(Clone, Debug)]
pub struct Course {
    /// What it is called.
    pub title: String,
    /// What is asked of whom.
    pub load: Load,
    /// How.
    pub drive: Drive,
    /// What the first requests meet is shown and not counted.
    pub warm_up: Duration,
    /// Whose processor time and memory are shown.
    pub processes: Vec<Named>,
    /// Says on standard error each second how it goes.
    pub progress: bool,
}

impl Course {
    /// Does it. Returns when the last answer is there.
    ///
    /// # Errors
    /// The load ended by a panic.
    pub async fn run(&self) -> anyhow::Result<Run> {
        let journal = &self.load.journal;
        let (at, began, mut watch) = (Utc::now(), Instant::now(), Watch::new(&self.processes));
        let (load, drive) = (self.load.clone(), self.drive.clone());
        let mut job = JoinSet::new();
        job.spawn(async move {
            match drive {
                Drive::Closed { users, length } => drive::closed(&load, users, length).await,
                Drive::Open { schedule, in_flight } => drive::open(&load, &schedule, in_flight).await,
            }
        });
        let second = Duration::from_secs(1);
        let mut ticks = interval_at(began + second, second);
        // A second that was missed is not made up for: the next one is whole again.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut over_time, mut counting) = (Vec::new(), began);
        let mut warm = self.warm_up.is_zero();
        loop {
            tokio::select! {
                // What is over is over, whatever else is due.
                biased;
                ended = job.join_next() => {
                    ended.context("no load was made")?.context("the load ended too early")?;
                    break;
                }
                () = sleep_until(began + self.warm_up), if !warm => {
                    warm = true;
                    counting = Instant::now();
                    journal.begin();
                    watch.begin();
                }
                _ = ticks.tick() => {
                    let second = journal.turn();
                    watch.turn();
                    over_time.push(second);
                    if let (true, Some(second)) = (self.progress, over_time.last()) {
                        eprintln!("{}", line(over_time.len(), second));
                    }
                }
            }
        }
        let measured = counting.elapsed().as_secs_f64();
        // Without a whole second there is still something to show.
        if over_time.is_empty() {
            over_time.push(journal.turn());
        }
        watch.turn();
        let span = Span { began: at, warm_up: (counting - began).as_secs_f64(), measured };
        let mut used = watch.end();
        for used in &mut used {
            used.cores.truncate(over_time.len());
            used.memory_mib.truncate(over_time.len());
        }
        Ok(Run::new(&self.title, span, &journal.totals(), over_time, used))
    }
}

/// How a second went.
fn line(number: usize, second: &Second) -> String {
    let kind = |name: &str, summary: &Option<Summary>| {
        let summary = summary.as_ref()?;
        Some(format!(", {name} p50 {:.1} p99 {:.1} ms", summary.p50_ms, summary.p99_ms))
    };
    let hits = (second.reads > 0).then(|| percent(second.hits as f64 / second.reads as f64));
    let parts = [
        kind("products", &second.products),
        kind("orders", &second.orders),
        hits.map(|hits| format!(", cache {hits}")),
        (second.failed > 0).then(|| format!(", {} failed", whole(second.failed))),
    ];
    let parts: String = parts.into_iter().flatten().collect();
    format!("  {number:>4} s  {:>7}/s{parts}", whole(second.good))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_is_a_line_that_says_only_what_there_was() {
        let summary = |p50_ms| Some(Summary { p50_ms, p99_ms: 4.0, ..Summary::default() });
        let second = Second { good: 1_234, reads: 4, hits: 3, products: summary(0.5), ..Second::default() };
        assert_eq!(line(7, &second), "     7 s    1,234/s, products p50 0.5 p99 4.0 ms, cache 75.00 %");
        let failed = Second { failed: 2, ..Second::default() };
        assert_eq!(line(12, &failed), "    12 s        0/s, 2 failed");
    }
}
