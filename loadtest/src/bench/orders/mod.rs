//! Orders: how many are taken and go through, beside what the database alone can do; how soon the last effect is there; what happens beyond what the shop
//! can take; and how much memory it takes.
//!
//! The reference is pgbench with the textbook transaction, on the same server before anything else runs. Orders and transactions have one line each. All
//! other processes run, the relay and the four consumers too, and the companies answer at once and never fail.

mod accepted;
mod clients;
mod effects;
mod memory;
mod order;
mod overload;
mod pgbench;
mod sizes;
mod stage;
mod sustained;

use std::path::PathBuf;

use anyhow::Context;

use super::report::{Figure, number};
use super::{Common, audit_all, progress};
use crate::system::SystemArgs;
use crate::system::running::Running;
use effects::GroupDatabases;
use sizes::Sizes;
use stage::Stage;

/// What to measure.
#[derive(Clone, clap::Args)]
pub struct Settings {
    /// What all benchmarks take.
    #[command(flatten)]
    pub common: Common,
    /// Measure only these parts; what a part needs of another one is measured all the same
    #[arg(long, value_name = "PART", value_delimiter = ',')]
    pub only: Vec<Part>,
    /// The system.
    #[command(flatten)]
    pub system: SystemArgs,
    /// The databases of the groups.
    #[command(flatten)]
    pub groups: GroupDatabases,
    /// The program pgbench
    #[arg(long, value_name = "FILE")]
    pub pgbench: PathBuf,
}

/// A part of the benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// Orders accepted per second
    Accepted,
    /// Orders per second at which nothing piles up
    Sustained,
    /// From an order to its last effect
    Effects,
    /// Twice as many orders as the shop can take
    Overload,
    /// Memory at rest and under load
    Memory,
}

/// Measures, and audits what came of all orders.
///
/// # Errors
/// An order was not accepted, an effect is missing, or a process that takes part failed.
pub async fn measure(settings: &Settings) -> anyhow::Result<Vec<Figure>> {
    let asked = |part| settings.only.is_empty() || settings.only.contains(&part);
    let sizes = Sizes::new(settings.common.output.quick);
    let compared = [Part::Accepted, Part::Sustained, Part::Overload].into_iter().any(asked);
    let mut reference = (0.0, 0);
    if compared {
        progress("the reference: pgbench alone");
        let url = &settings.common.orders.orders_database_url;
        reference = accepted::reference(&settings.pgbench, url, sizes).await.context("the reference")?;
    }
    let no_tracing = [("OTEL_EXPORTER_OTLP_ENDPOINT", String::new())];
    let running = Running::start(&settings.common, &settings.system, &no_tracing).await?;
    let mut stage = Stage { running, shop: settings.system.addresses.order_api_addr, accepted: 0 };
    let mut figures = Vec::new();
    if asked(Part::Memory) {
        progress("memory at rest");
        figures.extend(memory::at_rest(&stage, sizes).await?);
    }
    stage.running.watched.forget_peaks();
    let shop = stage.shop;
    let warm = stage.put(async |_, _| clients::closed(shop, 32, sizes.warm_up, 1).await).await?;
    progress(format!("a rehearsal, not counted: {}/s accepted", number(warm.tally.rate())));
    let mut found = None;
    if compared {
        progress("accepted: orders as fast as clients get their answers");
        let accepted = accepted::measure(&mut stage, sizes, reference).await.context("accepted")?;
        figures.extend(accepted.figures.iter().cloned());
        found = Some(accepted);
    }
    if asked(Part::Effects) {
        progress("effects: from an order to its last effect");
        figures.extend(effects::measure(&mut stage, sizes, &settings.groups).await.context("effects")?);
    }
    if let (true, Some(found)) = (asked(Part::Sustained), &found) {
        progress("sustained: the rate at which nothing piles up");
        let measured = sustained::measure(&mut stage, sizes, found.whole_rate, reference.0).await;
        figures.extend(measured.context("sustained")?);
    }
    if asked(Part::Memory) {
        figures.extend(memory::under_load(&stage));
    }
    if let (true, Some(found)) = (asked(Part::Overload), &found) {
        progress("overload: twice as many orders as the shop takes");
        figures.extend(overload::measure(&mut stage, sizes, found.rate).await.context("overload")?);
    }
    audit_all(&settings.system, stage.accepted).await?;
    stage.running.stop().await?;
    // What is aimed at holds for the long form.
    let aimed =
        |figure| if settings.common.output.quick { Figure { target: None, ..figure } } else { figure };
    Ok(figures.into_iter().map(aimed).collect())
}
