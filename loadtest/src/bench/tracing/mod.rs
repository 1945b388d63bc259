//! What tracing costs: orders through the whole system, of which none, some and all are sampled.
//!
//! Two questions, and a part for each. `sampled`: the processes run once, with a collector and no traces of their own, and the clients decide which
//! orders are sampled, by the flag in `traceparent`; all modes meet the same processes in turns, a few seconds each, so that small differences
//! show. `configured`: the processes are started as an operator would, without a collector or with one and a ratio, and the clients send no
//! `traceparent`; each start is different luck, so it is coarser, but nothing is left out of it.

mod clients;
mod modes;
mod slice;
mod system;

use anyhow::{Context, bail};

use super::report::Figure;
use super::{Common, audit_all, progress};
use crate::load::Shop;
use crate::system::SystemArgs;
use modes::{Tally, Tracing};
use slice::Slice;
use system::System;

/// The share of all orders that the documents recommend to sample under load, and that the targets hold for.
const RECOMMENDED: f64 = 0.1;

/// What to measure.
#[derive(Clone, clap::Args)]
pub struct Settings {
    /// What all benchmarks take.
    #[command(flatten)]
    pub common: Common,
    /// Measure only these parts
    #[arg(long, value_name = "PART", value_delimiter = ',')]
    pub only: Vec<Part>,
    /// Shares of the orders that are sampled, above 0 and up to 1; none is always measured beside them. The target holds for the first
    #[arg(long, value_name = "SHARE", value_delimiter = ',', value_parser = share, default_values_t = [RECOMMENDED, 1.0])]
    pub shares: Vec<f64>,
    /// The system.
    #[command(flatten)]
    pub system: SystemArgs,
    /// Where spans go, by OTLP over HTTP: http://host:port
    #[arg(long, value_name = "URL")]
    pub collector: String,
    /// Process id of Jaeger
    #[arg(long, value_name = "NUMBER")]
    pub jaeger_pid: i32,
}

/// A part of the benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// The clients decide which orders are sampled; all modes meet the same processes
    Sampled,
    /// The processes are started with other settings for each mode
    Configured,
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if share > 0.0 && share <= 1.0 => Ok(share),
        _ => Err("expected a number above 0 and up to 1".to_owned()),
    }
}

/// Measures, and audits what came of all orders.
///
/// # Errors
/// An order was not accepted, an effect is missing, nothing was recorded of orders that are sampled or something of those that are not, or a process
/// that takes part failed.
pub async fn measure(settings: &Settings) -> anyhow::Result<Vec<Figure>> {
    let asked = |part| settings.only.is_empty() || settings.only.contains(&part);
    let (mut figures, mut accepted) = (Vec::new(), 0);
    if asked(Part::Sampled) {
        progress("sampled: the clients decide which orders are sampled");
        figures.extend(sampled(settings, &mut accepted).await.context("sampled")?);
    }
    if asked(Part::Configured) {
        progress("configured: the processes are started anew for each mode");
        figures.extend(configured(settings, &mut accepted).await.context("configured")?);
    }
    // What is aimed at holds for the long form.
    let aimed =
        |figure| if settings.common.output.quick { Figure { target: None, ..figure } } else { figure };
    Ok(figures.into_iter().map(aimed).collect())
}

/// All modes meet the same processes, in turns. Counts what was `accepted`.
async fn sampled(settings: &Settings, accepted: &mut u64) -> anyhow::Result<Vec<Figure>> {
    // Traces that a process begins by itself are not sampled; what a client says stands.
    let mut system = System::start(settings, Tracing::On(0.0)).await?;
    let modes: Vec<f64> = std::iter::once(0.0).chain(settings.shares.iter().copied()).collect();
    let slice = Slice::new(settings.common.output.quick);
    *accepted += system.rehearse(slice, slice.warm_up, modes.last().copied()).await?;
    let mut tallies: Vec<Tally> = modes.iter().map(|_| Tally::default()).collect();
    for round in 0..slice.rounds {
        for mode in turns(round, modes.len()) {
            let (Some(share), Some(tally)) = (modes.get(mode), tallies.get_mut(mode)) else { continue };
            let outcome = system.measure(slice, round, Some(*share)).await?;
            progress(format!("  {}: {outcome}", modes::name(*share)));
            outcome.check(*share > 0.0)?;
            *accepted += outcome.accepted;
            tally.add(outcome);
        }
    }
    audit_all(&settings.system, *accepted).await?;
    system.stop().await?;
    let [off, on @ ..] = tallies.as_slice() else { bail!("no mode was measured") };
    Ok(modes::figures("sampled", off, settings.shares.iter().copied().zip(on)))
}

/// Every mode has processes of its own, which begin their own traces or none. Counts what was `accepted`.
async fn configured(settings: &Settings, accepted: &mut u64) -> anyhow::Result<Vec<Figure>> {
    let slice = Slice::new(settings.common.output.quick);
    let shares = settings.shares.iter().copied().take(slice.configured_shares);
    let modes: Vec<Tracing> = std::iter::once(Tracing::Off).chain(shares.clone().map(Tracing::On)).collect();
    let mut tallies: Vec<Tally> = modes.iter().map(|_| Tally::default()).collect();
    for start in 0..slice.starts {
        for mode in turns(start, modes.len()) {
            let (Some(tracing), Some(tally)) = (modes.get(mode), tallies.get_mut(mode)) else { continue };
            let mut system = System::start(settings, *tracing).await?;
            let length = if *accepted == 0 { slice.warm_up } else { slice.rehearsal };
            *accepted += system.rehearse(slice, length, None).await?;
            for round in 0..slice.slices_per_start {
                let outcome = system.measure(slice, round, None).await?;
                progress(format!("  {tracing}: {outcome}"));
                outcome.check(*tracing != Tracing::Off)?;
                *accepted += outcome.accepted;
                tally.add(outcome);
            }
            system.stop().await?;
        }
    }
    // The audit asks the provider what it has delivered, so it has to run.
    let system = System::start(settings, Tracing::Off).await?;
    audit_all(&settings.system, *accepted).await?;
    system.stop().await?;
    let [off, on @ ..] = tallies.as_slice() else { bail!("no mode was measured") };
    Ok(modes::figures("configured", off, shares.zip(on)))
}

/// The order in which `modes` have their turns: there and, the next time, back again, so that what changes with time falls on all of them alike.
fn turns(round: u64, modes: usize) -> impl Iterator<Item = usize> {
    (0..modes).map(move |place| if round.is_multiple_of(2) { place } else { modes - 1 - place })
}

/// A client of the shop at `address`, which gives up after `timeout`.
fn shop(address: std::net::SocketAddr, timeout: std::time::Duration) -> anyhow::Result<Shop> {
    Ok(Shop::new(&format!("http://{address}"), timeout)?)
}
