//! The figures side by side: what was expected, ours, the baseline's, and whether it was reached.

use serde::Serialize;

use super::phases::{Findings, Phase};
use crate::bench::report::number;
use crate::load::latency::Summary;
use crate::load::request::Kind;
use crate::report::run::Run;
use crate::report::table::Table;

/// The clock in the answers has steps of a microsecond: what reads as nothing took less than one.
const CLOCK_MS: f64 = 0.001;
/// Seconds of orders that may wait for their effects while orders come: the companies take 0.3 s for a message, and one in twenty is tried again.
const WAITING_SECONDS: f64 = 2.0;

/// A line of the table.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Line {
    /// What was measured.
    pub(super) what: &'static str,
    /// What the numbers count.
    pub(super) unit: &'static str,
    /// What was expected of ours.
    pub(super) expected: Option<Expected>,
    /// Ours.
    pub(super) ours: Option<f64>,
    /// The baseline's.
    pub(super) baseline: Option<f64>,
    /// How many times better ours is.
    pub(super) times_better: Option<f64>,
    /// Whether it is as expected.
    pub(super) reached: Option<bool>,
}

/// What was expected of ours.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Expected {
    /// This or less.
    AtMost(f64),
    /// This or more.
    AtLeast(f64),
    /// So many times better than the baseline.
    TimesBetter(f64),
}

/// Which numbers are better.
#[derive(Clone, Copy, Debug)]
enum Better {
    Less,
    More,
}

/// Both systems, as they are asked for a number.
struct Both<'a> {
    ours: &'a Findings,
    baseline: &'a Findings,
    lines: Vec<Line>,
}

/// All lines. `offered`: requests per second of the open loop.
pub(super) fn lines(ours: &Findings, baseline: &Findings, offered: f64) -> Vec<Line> {
    use Better::{Less, More};
    use Expected::{AtLeast, AtMost, TimesBetter};
    use Phase::{Hurried, Open, Reads, SingleOrders, SingleReads, Thinking};
    let mut both = Both { ours, baseline, lines: Vec::new() };
    let server = |kind| move |run: &Run| run.server.get(&kind).map(|summary| summary.p50_ms.max(CLOCK_MS));
    let client = |kind| move |run: &Run| run.clients.get(&kind).map(|summary| summary.p50_ms);
    let all = |part: fn(&Summary) -> f64| move |run: &Run| (run.all.count > 0).then(|| part(&run.all));
    let (p50, p95, p99) = (all(|all| all.p50_ms), all(|all| all.p95_ms), all(|all| all.p99_ms));
    let rate = |run: &Run| Some(run.good_per_second);
    let failures = |run: &Run| Some(run.failure_rate * 100.0);
    let hits = |run: &Run| run.hit_rate.map(|rate| rate * 100.0);

    both.of(
        SingleReads,
        "product read, cache warm, by the server's clock: p50",
        "ms",
        Less,
        Some(TimesBetter(100.0)),
        server(Kind::Products),
    );
    both.of(
        SingleReads,
        "product read, one kept connection: p50",
        "ms",
        Less,
        Some(TimesBetter(100.0)),
        client(Kind::Products),
    );
    both.of(
        SingleOrders,
        "order, by the server's clock: p50",
        "ms",
        Less,
        Some(TimesBetter(13.6)),
        server(Kind::Orders),
    );
    both.of(
        SingleOrders,
        "order, one kept connection: p50",
        "ms",
        Less,
        Some(TimesBetter(13.6)),
        client(Kind::Orders),
    );
    both.of(Thinking, "users who think: p50", "ms", Less, Some(AtMost(5.0)), p50);
    both.of(Thinking, "users who think: p95", "ms", Less, Some(AtMost(20.0)), p95);
    both.of(Thinking, "users who think: requests", "/s", More, None, rate);
    // A hundredth less: a request or two at the end belong to no full second.
    both.of(Open, "open loop: ended well", "/s", More, Some(AtLeast(offered * 0.99)), rate);
    both.of(Open, "open loop: p50", "ms", Less, Some(AtMost(10.0)), p50);
    both.of(Open, "open loop: p95", "ms", Less, Some(AtMost(50.0)), p95);
    both.of(Open, "open loop: p99", "ms", Less, None, p99);
    both.of(Open, "open loop: did not end well", "%", Less, Some(AtMost(0.1)), failures);
    both.of(Open, "open loop: reads from the cache", "%", More, Some(AtLeast(95.0)), hits);
    both.of(Open, "open loop: CPU per request, all processes", "us", Less, None, |run| Some(cpu(run)));
    both.of(Open, "open loop: memory, all processes", "MiB", Less, None, |run| Some(memory(run)));
    both.of(Hurried, "users who do not think: ended well", "/s", More, None, rate);
    both.of(Hurried, "users who do not think: p50", "ms", Less, None, p50);
    both.of(Hurried, "users who do not think: p95", "ms", Less, None, p95);
    both.of(Reads, "users who only read: ended well", "/s", More, None, rate);
    both.line("connections of the read path, users who only read", "", Less, Some(AtMost(5.0)), |found| {
        Some(found.read_connections as f64)
    });
    both.line("connections of all processes, users who only read", "", Less, None, |found| {
        Some(found.connections as f64)
    });
    let enough = offered * 0.25 * WAITING_SECONDS;
    both.line("orders without all effects as the open loop ends", "", Less, Some(AtMost(enough)), |found| {
        found.waiting.get(&Open).map(|waiting| *waiting as f64)
    });
    both.line("open loop: until the last effect", "s", Less, None, |found| {
        found.drain_seconds.get(&Open).copied()
    });
    both.line("users who do not think: until the last effect", "s", Less, None, |found| {
        found.drain_seconds.get(&Hurried).copied()
    });
    both.lines
}

impl Both<'_> {
    fn of(
        &mut self,
        phase: Phase,
        what: &'static str,
        unit: &'static str,
        better: Better,
        expected: Option<Expected>,
        number: impl Fn(&Run) -> Option<f64>,
    ) {
        self.line(what, unit, better, expected, |found| found.runs.get(&phase).and_then(&number));
    }

    fn line(
        &mut self,
        what: &'static str,
        unit: &'static str,
        better: Better,
        expected: Option<Expected>,
        number: impl Fn(&Findings) -> Option<f64>,
    ) {
        let (ours, baseline) = (number(self.ours), number(self.baseline));
        let times_better = match (ours, baseline, better) {
            (Some(ours), Some(baseline), Better::Less) if ours > 0.0 => Some(baseline / ours),
            (Some(ours), Some(baseline), Better::More) if baseline > 0.0 => Some(ours / baseline),
            _ => None,
        };
        let reached = expected.and_then(|expected| {
            Some(match expected {
                Expected::AtMost(most) => ours? <= most,
                Expected::AtLeast(least) => ours? >= least,
                Expected::TimesBetter(times) => times_better? >= times,
            })
        });
        self.lines.push(Line { what, unit, expected, ours, baseline, times_better, reached });
    }
}

/// What a request cost all processes but the one that makes the load, in microseconds.
fn cpu(run: &Run) -> f64 {
    let seconds: f64 = system(run).map(|used| used.cpu_seconds).sum();
    seconds * 1e6 / run.requests.max(1) as f64
}

/// What all of them had in memory at most, in MiB.
fn memory(run: &Run) -> f64 {
    system(run).map(|used| used.peak_mib).sum()
}

fn system(run: &Run) -> impl Iterator<Item = &crate::load::watch::Use> {
    run.processes.iter().filter(|used| used.name != "loadtest")
}

/// As a table. A verdict is given if the run was long enough for one.
pub(super) fn table(lines: &[Line], verdicts: bool) -> Table {
    let mut table = Table::new(&["what", "expected", "event-driven", "baseline", "times better", ""]);
    for line in lines {
        let with_unit = |value: Option<f64>| value.map(|value| of(value, line.unit)).unwrap_or_default();
        let expected = line.expected.map(|expected| match expected {
            Expected::AtMost(most) => format!("<= {}", of(most, line.unit)),
            Expected::AtLeast(least) => format!(">= {}", of(least, line.unit)),
            Expected::TimesBetter(times) => format!(">= {times} times better"),
        });
        let verdict = match line.reached {
            Some(true) if verdicts => "reached",
            Some(false) if verdicts => "missed",
            _ => "",
        };
        table.row([
            line.what.to_owned(),
            expected.unwrap_or_default(),
            with_unit(line.ours),
            with_unit(line.baseline),
            line.times_better.map(number).unwrap_or_default(),
            verdict.to_owned(),
        ]);
    }
    table
}

fn of(value: f64, unit: &str) -> String {
    let text = if unit.is_empty() { format!("{value:.0}") } else { number(value) };
    match unit {
        "" | "/s" => format!("{text}{unit}"),
        _ => format!("{text} {unit}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(waiting: Option<u64>, read_connections: u64) -> Findings {
        let waiting = waiting.map(|waiting| (Phase::Open, waiting)).into_iter().collect();
        Findings { waiting, read_connections, ..Findings::default() }
    }

    #[test]
    fn a_line_says_how_many_times_better_ours_is_and_whether_that_was_expected() {
        let mut both = Both { ours: &found(None, 4), baseline: &found(None, 10), lines: Vec::new() };
        let number = |found: &Findings| Some(found.read_connections as f64);
        both.line("fewer", "ms", Better::Less, Some(Expected::TimesBetter(2.0)), number);
        both.line("more", "/s", Better::More, Some(Expected::AtLeast(5.0)), number);
        both.line("at most", "", Better::Less, Some(Expected::AtMost(4.0)), number);
        both.line("absent", "s", Better::Less, Some(Expected::AtMost(4.0)), |_| None);
        let table = table(&both.lines, true).to_string();
        for line in [
            "| fewer   | >= 2 times better | 4.00 ms      | 10.0 ms  | 2.50         | reached |",
            "| more    | >= 5.00/s         | 4.00/s       | 10.0/s   | 0.40         | missed  |",
            "| at most | <= 4              | 4            | 10       | 2.50         | reached |",
            "| absent  | <= 4.00 s         |              |          |              |         |",
        ] {
            assert!(table.contains(line), "no `{line}` in\n{table}");
        }
        assert!(!super::table(&both.lines, false).to_string().contains("reached"));
    }

    #[test]
    fn consumers_keep_up_if_two_seconds_of_orders_wait_for_them_at_most() {
        let verdict = |waiting| {
            let lines = lines(&found(Some(waiting), 4), &found(None, 10), 2_000.0);
            lines
                .into_iter()
                .find(|line| line.what.starts_with("orders without"))
                .and_then(|line| line.reached)
        };
        assert_eq!((verdict(1_000), verdict(1_001)), (Some(true), Some(false)));
    }
}
