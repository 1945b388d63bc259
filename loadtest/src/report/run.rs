//! One load from beginning to end.

use std::collections::BTreeMap;
use std::fmt::{self, Display};

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::table::Table;
use crate::bench::report::number;
use crate::load::journal::{Second, Totals};
use crate::load::latency::{Latencies, Summary};
use crate::load::request::Kind;
use crate::load::watch::Use;

/// What came of a load.
#[derive(Clone, Debug, Serialize)]
pub struct Run {
    /// What was done, in a line.
    pub title: String,
    /// When its first request was sent.
    pub began: DateTime<Utc>,
    /// Seconds at its beginning that are in `over_time` and not in the sums.
    pub warm_up_seconds: f64,
    /// Seconds that are in the sums, until the last answer.
    pub seconds: f64,
    /// Requests, those that could not be started included.
    pub requests: u64,
    /// Requests that ended well, per second.
    pub good_per_second: f64,
    /// The part of the requests that did not end well.
    pub failure_rate: f64,
    /// Requests that did not end well, by what came instead.
    pub errors: BTreeMap<String, u64>,
    /// The part of the product reads that came from the cache.
    pub hit_rate: Option<f64>,
    /// Latencies of all requests, as the clients saw them.
    pub all: Summary,
    /// The same by what was asked.
    pub clients: BTreeMap<Kind, Summary>,
    /// By the server's own clock.
    pub server: BTreeMap<Kind, Summary>,
    /// Second by second.
    pub over_time: Vec<Second>,
    /// What the processes used, second by second.
    pub processes: Vec<Use>,
}

/// When a load ran.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    /// When its first request was sent.
    pub began: DateTime<Utc>,
    /// Seconds that are not in the sums.
    pub warm_up: f64,
    /// Seconds that are.
    pub measured: f64,
}

impl Run {
    /// From what was counted.
    pub fn new(title: &str, span: Span, totals: &Totals, over_time: Vec<Second>, used: Vec<Use>) -> Self {
        let summaries = |latencies: &BTreeMap<Kind, Latencies>| {
            latencies.iter().map(|(kind, latencies)| (*kind, latencies.summary())).collect()
        };
        Self {
            title: title.to_owned(),
            began: span.began,
            warm_up_seconds: span.warm_up,
            seconds: span.measured,
            requests: totals.requests(),
            good_per_second: totals.good as f64 / span.measured.max(1e-9),
            failure_rate: totals.failure_rate(),
            errors: totals.errors.iter().map(|(name, count)| (name.to_string(), *count)).collect(),
            hit_rate: totals.hit_rate(),
            all: totals.all().summary(),
            clients: summaries(&totals.latencies),
            server: summaries(&totals.server),
            over_time,
            processes: used,
        }
    }

    /// Latencies, by kind.
    pub fn latencies(&self) -> Table {
        let mut table = Table::new(&["latency", "count", "p50 ms", "p90 ms", "p95 ms", "p99 ms", "max ms"]);
        let mut line = |what: &str, summary: &Summary| {
            let Summary { count, p50_ms, p90_ms, p95_ms, p99_ms, max_ms } = *summary;
            let times = [p50_ms, p90_ms, p95_ms, p99_ms, max_ms].map(number);
            table.row([what.to_owned(), whole(count)].into_iter().chain(times));
        };
        for (clock, kinds) in [("", &self.clients), (", by the server's clock", &self.server)] {
            for (kind, summary) in kinds {
                line(&format!("{}{clock}", name(*kind)), summary);
            }
        }
        table
    }

    /// Requests and how they ended.
    pub fn outcomes(&self) -> Table {
        let mut table = Table::new(&["requests", "number", "share"]);
        let share = |count: u64| percent(count as f64 / self.requests.max(1) as f64);
        let good = self.requests - self.errors.values().sum::<u64>();
        table.row(["ended well".to_owned(), whole(good), share(good)]);
        for (error, count) in &self.errors {
            table.row([error.clone(), whole(*count), share(*count)]);
        }
        table
    }

    /// What the processes used.
    pub fn resources(&self) -> Table {
        let mut table = Table::new(&["process", "cores", "CPU per request", "most memory"]);
        for used in &self.processes {
            let cores = number(used.cpu_seconds / self.seconds.max(1e-9));
            let each = used.cpu_seconds * 1e6 / self.requests.max(1) as f64;
            let memory = format!("{} MiB", number(used.peak_mib));
            table.row([used.name.clone(), cores, format!("{} us", number(each)), memory]);
        }
        table
    }

    /// Rates in a line.
    pub fn rates(&self) -> String {
        let hits = self.hit_rate.map(|rate| format!(", {} of the reads from the cache", percent(rate)));
        format!(
            "{} requests in {:.1} s, {}/s ended well, {} did not{}",
            whole(self.requests),
            self.seconds,
            number(self.good_per_second),
            percent(self.failure_rate),
            hits.unwrap_or_default()
        )
    }
}

impl Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n{}\n{}\n\n{}\n{}", self.title, self.rates(), self.latencies(), self.outcomes())?;
        if !self.processes.is_empty() {
            writeln!(f, "{}", self.resources())?;
        }
        Ok(())
    }
}

/// How a kind is called.
pub fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Products => "products",
        Kind::Orders => "orders",
    }
}

/// A share as percent.
pub fn percent(share: f64) -> String {
    format!("{:.2} %", share * 100.0)
}

/// A count, with commas.
pub fn whole(count: u64) -> String {
    if count < 1_000 { count.to_string() } else { number(count as f64) }
}
