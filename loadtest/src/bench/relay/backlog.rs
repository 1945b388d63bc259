//! Whether a backlog that is ten times as long is drained as fast.

use anyhow::Context;

use super::numbers::{chunk_rates, median};
use super::{Bench, drain};
use crate::bench::progress;
use crate::bench::report::{Figure, Spent, Target, Unit, number};

/// At least this part of the rate of a small backlog.
const TARGET: f64 = 0.9;

/// The median of the rates of equal chunks: of a large backlog beside a small one.
pub(super) async fn measure(bench: &mut Bench<'_>) -> anyhow::Result<Vec<Figure>> {
    let (small, large) = (bench.sizes.small, bench.sizes.large);
    let (reference, _, _) = one(bench, small).await?;
    let (rate, slowest, spent) = one(bench, large).await?;
    let figure = Figure::new(format!("drain of {} rows", number(large as f64)), Unit::PerSecond, rate)
        .target(Target::RatioAtLeast(TARGET))
        .against(format!("of {} rows", number(small as f64)), reference)
        .used(&spent);
    let chunk = number(bench.sizes.chunk as f64);
    let slowest = Figure::new(format!("the slowest {chunk} of them"), Unit::PerSecond, slowest)
        .against("the median", rate);
    Ok(vec![figure, slowest])
}

/// The median and the slowest of the rates, and what was used.
async fn one(bench: &mut Bench<'_>, rows: u64) -> anyhow::Result<(f64, f64, Spent)> {
    let drain = drain::once(bench, "backlog", rows).await?;
    drain.relay.stop().await?;
    bench.outbox.clear().await?;
    let rates = chunk_rates(&drain.samples, bench.sizes.chunk);
    let slowest = rates.iter().copied().fold(f64::INFINITY, f64::min);
    let rate = median(rates).context("fewer rows than a chunk has")?;
    let [rows, chunk] = [rows, bench.sizes.chunk].map(|count| number(count as f64));
    let [all, middle, least] = [drain.rate, rate, slowest].map(number);
    progress(format!("  {rows} rows at {all}/s; by chunks of {chunk}: median {middle}/s, slowest {least}/s"));
    Ok((rate, slowest, drain.spent))
}
