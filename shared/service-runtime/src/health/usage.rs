//! Memory and processor time of this process.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use procfs::process::Process;
use procfs::{Current, Meminfo, WithCurrentSystemInfo};
use serde_json::{Value, json};

pub(super) struct Usage {
    /// Resident memory, the machine's memory, and the share of the one in the other.
    pub(super) memory: Value,
    /// Processor time in percent of one core since the last reading (at first: since the start), and the number of cores.
    pub(super) cpu: Value,
}

/// Remembers the last reading: a share of processor time is one between two readings.
#[derive(Default)]
pub(super) struct Meter(Mutex<Option<Reading>>);

struct Reading {
    at: Instant,
    seconds: f64,
    percent: f64,
}

impl Meter {
    pub(super) fn read(&self) -> Usage {
        self.try_read().unwrap_or(Usage { memory: Value::Null, cpu: Value::Null })
    }

    fn try_read(&self) -> Option<Usage> {
        let stat = Process::myself().ok()?.stat().ok()?;
        let used = stat.rss_bytes().get();
        let total = Meminfo::current().ok()?.mem_total;
        let seconds = (stat.utime + stat.stime) as f64 / procfs::ticks_per_second() as f64;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Some(Usage {
            memory: json!({ "used_bytes": used, "total_bytes": total, "percent": rounded(used as f64 / total as f64 * 100.0) }),
            cpu: json!({ "percent": self.percent(seconds), "cores": cores }),
        })
    }

    fn percent(&self, seconds: f64) -> f64 {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let percent = match last.as_ref() {
            // The kernel counts in hundredths of a second: over a shorter time the share would jump.
            Some(last) if last.at.elapsed().as_millis() < 500 => return last.percent,
            Some(last) => (seconds - last.seconds) / last.at.elapsed().as_secs_f64() * 100.0,
            None => {
                let lived = (chrono::Utc::now() - crate::process::facts().started).as_seconds_f64().max(0.5);
                seconds / lived * 100.0
            }
        };
        let percent = rounded(percent.max(0.0));
        *last = Some(Reading { at: Instant::now(), seconds, percent });
        percent
    }
}

fn rounded(percent: f64) -> f64 {
    (percent * 100.0).round() / 100.0
}
