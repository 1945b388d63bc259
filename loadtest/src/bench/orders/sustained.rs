//! The highest rate at which nothing piles up.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::clients::{self, Open, Tally};
use super::sizes::Sizes;
use super::stage::{Outcome, Stage};
use crate::bench::progress;
use crate::bench::report::{Figure, Target, Unit, number};
use crate::system::meters::Counts;
use crate::system::running::Running;

/// How often it is looked how much waits.
const LOOK: Duration = Duration::from_secs(1);
/// What waits may have grown by so many seconds' worth of orders, which is what a checkpoint or a pause of the Java machine leaves for a moment, or by this part
/// of what came meanwhile: noise, not growth.
const MOMENT: f64 = 0.5;
const NOISE: f64 = 0.01;
/// Orders without an answer at a time.
const IN_FLIGHT: u64 = 512;
/// What is to be reached, as a part of what pgbench does.
const AIM: f64 = 0.5;
/// From one rate that is tried to the next.
const STEP: f64 = 1.15;
/// From a rate that did not hold to the next.
const BACK: f64 = 0.95;
/// How often a rate may fail to hold.
const HOLDS: u32 = 5;

/// How much waited, for a stage: orders that were due and are not done there.
#[derive(Clone, Copy, Debug)]
struct Backlog {
    at: f64,
    /// Of the stage with the most.
    orders: f64,
}

/// Finds it.
///
/// # Errors
/// An order was not accepted, or an effect is missing.
pub(super) async fn measure(
    stage: &mut Stage,
    sizes: Sizes,
    whole_rate: f64,
    pgbench: f64,
) -> anyhow::Result<Vec<Figure>> {
    // What went through while others waited is near.
    let mut rate = whole_rate;
    let (mut held, mut failed) = (None::<f64>, None::<f64>);
    for _ in 0..sizes.probes {
        let (_, grows) = load(stage, rate, sizes.probe).await?;
        progress(format!("  {}/s for {:?}: {}", number(rate), sizes.probe, said(grows)));
        if grows {
            failed = Some(rate);
        } else {
            held = Some(rate);
        }
        rate = match (held, failed) {
            (Some(held), Some(failed)) if failed / held < 1.04 => held,
            (Some(held), Some(failed)) => held.midpoint(failed),
            (Some(held), None) => held * STEP,
            (None, _) => rate / STEP,
        };
    }
    let mut rate = held.unwrap_or(rate);
    for _ in 0..HOLDS {
        let (outcome, grows) = load(stage, rate, sizes.hold).await?;
        progress(format!("  {}/s for {:?}: {}", number(rate), sizes.hold, said(grows)));
        if !grows {
            let what = format!("orders per second at which nothing grows over {:?}", sizes.hold);
            let figure = Figure::new(what, Unit::PerSecond, outcome.tally.rate())
                .target(Target::RatioAtLeast(AIM))
                .against("pgbench, nothing else running", pgbench)
                .used(&outcome.spent);
            return Ok(vec![figure]);
        }
        rate *= BACK;
    }
    progress("  no rate was found that holds");
    Ok(vec![
        Figure::new("orders per second at which nothing grows: none found", Unit::PerSecond, 0.0)
            .target(Target::RatioAtLeast(AIM))
            .against("pgbench, nothing else running", pgbench),
    ])
}

fn said(grows: bool) -> &'static str {
    if grows { "what waits grows" } else { "holds" }
}

/// Puts a rate on the system. Returns whether what waits grew.
async fn load(stage: &mut Stage, rate: f64, length: Duration) -> anyhow::Result<(Outcome, bool)> {
    let shop = stage.shop;
    let mut backlogs = Vec::new();
    let outcome = stage
        .put(async |running, before| {
            let open = Open { rate, length, in_flight: IN_FLIGHT, remember: false };
            let load = clients::open(shop, open, 7);
            let watch = watch(running, before, rate, length, &mut backlogs);
            let (tally, ()) = tokio::try_join!(load, watch)?;
            anyhow::Ok::<Tally>(tally)
        })
        .await?;
    let grows = grows(&backlogs, rate);
    Ok((outcome, grows))
}

async fn watch(
    running: &Running,
    before: &Counts,
    rate: f64,
    length: Duration,
    backlogs: &mut Vec<Backlog>,
) -> anyhow::Result<()> {
    let began = Instant::now();
    while began.elapsed() + LOOK <= length {
        sleep(LOOK.min(length / 10)).await;
        let at = began.elapsed().as_secs_f64();
        let slowest = running.counts().await?.since(before)?.into_iter().min().unwrap_or_default();
        backlogs.push(Backlog { at, orders: (at * rate - slowest as f64).max(0.0) });
    }
    Ok(())
}

/// Whether the last third holds more than the second one, beyond noise. The first one is for everything to get going.
fn grows(backlogs: &[Backlog], rate: f64) -> bool {
    let third = backlogs.len() / 3;
    let (Some(middle), Some(last)) = (backlogs.get(third..2 * third), backlogs.get(2 * third..)) else {
        return false;
    };
    let mean = |part: &[Backlog], of: fn(&Backlog) -> f64| {
        part.iter().map(of).sum::<f64>() / part.len().max(1) as f64
    };
    let came = (mean(last, |look| look.at) - mean(middle, |look| look.at)) * rate;
    let noise = (came * NOISE).max(rate * MOMENT);
    mean(last, |look| look.orders) - mean(middle, |look| look.orders) > noise
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looks(orders: impl Fn(f64) -> f64) -> Vec<Backlog> {
        (0..120).map(|at| Backlog { at: f64::from(at), orders: orders(f64::from(at)) }).collect()
    }

    #[test]
    fn what_waits_grows_if_a_stage_does_less_than_comes() {
        assert!(!grows(&looks(|_| 300.0), 1_000.0));
        assert!(!grows(&looks(|at| 300.0 + 100.0 * at.sin()), 1_000.0), "a wave is no growth");
        assert!(!grows(&looks(|at| (at * 500.0).min(9_000.0)), 1_000.0), "it got going");
        assert!(grows(&looks(|at| at * 20.0), 1_000.0), "a fiftieth is left each second");
        assert!(!grows(&[], 1_000.0));
    }
}
