//! Twice as many orders as the shop can take.

use std::time::Duration;

use anyhow::bail;
use tokio::time::{Instant, sleep};

use super::clients::{self, Open};
use super::sizes::Sizes;
use super::stage::Stage;
use crate::bench::progress;
use crate::bench::relay::numbers::Percentiles;
use crate::bench::report::{Figure, Target, Unit, number};

/// More than the shop has under way at a time: the others are refused.
const IN_FLIGHT: u64 = 2_000;
/// Once it is over, so many orders in a row have to be answered as soon as this.
const IN_A_ROW: usize = 10;
const SOON: Duration = Duration::from_millis(100);
/// For that to be so.
const PATIENCE: Duration = Duration::from_secs(60);

/// Measures. `best`: what the shop accepts per second at its best.
///
/// # Errors
/// An order was answered neither 201 nor 503 with `Retry-After`, or an effect is missing.
pub(super) async fn measure(stage: &mut Stage, sizes: Sizes, best: f64) -> anyhow::Result<Vec<Figure>> {
    let shop = stage.shop;
    let open = Open { rate: best * 2.0, length: sizes.overload, in_flight: IN_FLIGHT, remember: false };
    stage.running.watched.forget_peaks();
    let mut recovery = Duration::ZERO;
    let mut probes = 0;
    let outcome = stage
        .put(async |_, _| {
            let mut tally = clients::open(shop, open, 11).await?;
            let over = Instant::now();
            let mut in_a_row = 0;
            while in_a_row < IN_A_ROW {
                if over.elapsed() > PATIENCE {
                    bail!("orders are still slow {PATIENCE:?} after the overload");
                }
                let one = clients::closed(shop, 1, Duration::from_millis(1), 12 + probes).await?;
                probes += one.count();
                let soon = one.accepted.iter().all(|latency| *latency < SOON) && one.refused.is_empty();
                if in_a_row == 0 {
                    recovery = over.elapsed();
                }
                in_a_row = if soon { in_a_row + 1 } else { 0 };
                tally.accepted.extend(one.accepted);
                sleep(Duration::from_millis(10)).await;
            }
            anyhow::Ok(tally)
        })
        .await?;
    let tally = outcome.tally;
    let accepted = (tally.count() - probes) as f64 / tally.took.as_secs_f64().max(1e-9);
    progress(format!("  {}/s accepted, {} refused", number(accepted), tally.refused.len()));
    let mut figures = vec![
        Figure::new(
            format!("orders accepted while {}/s are due", number(open.rate)),
            Unit::PerSecond,
            accepted,
        )
        .target(Target::RatioAtLeast(0.8))
        .against("at its best", best)
        .used(&outcome.spent),
        Figure::new("orders answered 503 with Retry-After", Unit::Number, tally.refused.len() as f64),
    ];
    if let Some(latency) = Percentiles::of(tally.refused) {
        figures.push(Figure::new("from due to 503, p99", Unit::Millis, latency.p99));
    }
    if let Some(latency) = Percentiles::of(tally.accepted) {
        figures.push(Figure::new("from due to accepted, p99", Unit::Millis, latency.p99));
    }
    let memory = outcome.spent.processes.get("order-api").and_then(|used| used.memory_mib);
    figures.extend(memory.map(|memory| {
        Figure::new("memory of order-api", Unit::Mebibytes, memory).target(Target::AtMost(60.0))
    }));
    let recovery =
        Figure::new("until orders are answered within 100 ms again", Unit::Seconds, recovery.as_secs_f64());
    figures.push(recovery.target(Target::AtMost(5.0)));
    Ok(figures)
}
