//! What is resident, at rest and under load.

use std::collections::BTreeMap;

use tokio::time::sleep;

use super::sizes::Sizes;
use super::stage::Stage;
use crate::bench::report::{Figure, Target, Unit};

/// What each process of ours may have resident at rest and under load, in MiB.
const AT_REST: f64 = 30.0;
const UNDER_LOAD: f64 = 60.0;
/// What is not ours.
const OTHERS: [&str; 4] = ["postgres", "kafka", "redis", "bench"];

/// Right after the start, when nothing was asked for yet.
///
/// # Errors
/// A process has ended.
pub(super) async fn at_rest(stage: &Stage, sizes: Sizes) -> anyhow::Result<Vec<Figure>> {
    sleep(sizes.rest).await;
    let resident = stage.running.watched.resident()?;
    let mut figures = figures(&resident, "at rest", AT_REST);
    let of = |ours: bool| -> f64 {
        let counts = |name: &str| name != "bench" && OTHERS.contains(&name) != ours;
        resident.iter().filter(|(name, _)| counts(name)).map(|(_, memory)| memory).sum()
    };
    figures.push(Figure::new("memory at rest, our processes together", Unit::Mebibytes, of(true)));
    let servers = Figure::new("memory at rest, PostgreSQL, Redis and Kafka", Unit::Mebibytes, of(false));
    figures.push(servers);
    figures.push(Figure::new("memory at rest, the whole stack", Unit::Mebibytes, of(true) + of(false)));
    Ok(figures)
}

/// The most that was resident at a time since the peaks were forgotten.
pub(super) fn under_load(stage: &Stage) -> Vec<Figure> {
    figures(&stage.running.watched.peaks(), "under load", UNDER_LOAD)
}

fn figures(memory: &BTreeMap<&'static str, f64>, when: &str, most: f64) -> Vec<Figure> {
    let ours = memory.iter().filter(|(name, _)| !OTHERS.contains(name));
    ours.map(|(name, memory)| {
        Figure::new(format!("memory {when}, {name}"), Unit::Mebibytes, *memory).target(Target::AtMost(most))
    })
    .collect()
}
