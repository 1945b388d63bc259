//! The plots of a run.

use crate::figures::{Panel, Series, Side, Unit, Window, drawing};
use crate::load::journal::Second;
use crate::load::latency::Summary;
use crate::load::watch::Use;

use super::run::Run;

/// Narrow, so that its text can be read where the screen is narrow too.
const WIDTH: f64 = 360.0;

/// A plot for each thing that was seen over time, each `of` a system, if it is one of several. All runs have the same ones in the same order.
pub fn plots(run: &Run, of: Option<&str>) -> Vec<String> {
    let window = Window::of_seconds(run.over_time.len().max(2) - 1);
    let panels = [
        latencies("Product reads", run, |second| second.products.as_ref()),
        latencies("Orders", run, |second| second.orders.as_ref()),
        panel("Requests that ended, by how", Unit::PerSecond, throughput(run)),
        panel("Reads from the cache", Unit::Share, hits(run)),
        panel("Processor time", Unit::Cores, used(&run.processes, |used| &used.cores)),
        panel("Memory", Unit::Mebibytes, used(&run.processes, |used| &used.memory_mib)),
    ];
    let named = |panel: Panel| match of {
        Some(system) => Panel { title: format!("{system}: {}", panel.title).into(), ..panel },
        None => panel,
    };
    panels.into_iter().map(|panel| drawing(&named(panel), window, WIDTH)).collect()
}

fn panel(title: &'static str, unit: Unit, curves: Vec<Series>) -> Panel {
    Panel { title: title.into(), left: Side { unit, curves }, right: None }
}

fn latencies(title: &'static str, run: &Run, of: impl Fn(&Second) -> Option<&Summary>) -> Panel {
    let curve = |name: &str, part: fn(&Summary) -> f64| Series {
        name: name.to_owned(),
        values: run.over_time.iter().map(|second| of(second).map(|summary| part(summary) / 1e3)).collect(),
    };
    let curves = vec![
        curve("p50", |summary| summary.p50_ms),
        curve("p95", |summary| summary.p95_ms),
        curve("p99", |summary| summary.p99_ms),
    ];
    let curves = curves.into_iter().filter(|curve| curve.values.iter().any(Option::is_some)).collect();
    panel(title, Unit::SecondsOfAnyLength, curves)
}

fn throughput(run: &Run) -> Vec<Series> {
    let curve = |name: &str, part: fn(&Second) -> u64| Series {
        name: name.to_owned(),
        values: run.over_time.iter().map(|second| Some(part(second) as f64)).collect(),
    };
    vec![curve("well", |second| second.good), curve("failed", |second| second.failed)]
}

fn hits(run: &Run) -> Vec<Series> {
    let share = |second: &Second| (second.reads > 0).then(|| second.hits as f64 / second.reads as f64);
    let values: Vec<_> = run.over_time.iter().map(share).collect();
    if values.iter().all(Option::is_none) {
        return Vec::new();
    }
    vec![Series { name: "hits".to_owned(), values }]
}

fn used(processes: &[Use], part: fn(&Use) -> &Vec<Option<f64>>) -> Vec<Series> {
    let curve = |used: &Use| Series { name: used.name.clone(), values: part(used).clone() };
    processes.iter().map(curve).collect()
}
