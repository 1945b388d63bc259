//! What a relay costs while there is nothing to do.

use std::time::Duration;

use tokio::time::sleep;

use super::Bench;
use super::process::Relay;
use super::table::ASKING;
use crate::bench::progress;
use crate::bench::report::{Figure, Spent, Unit};
use crate::usage::Watched;

/// For connections that are opened and leases that are taken.
const WARM_UP: Duration = Duration::from_secs(2);

/// Cores of the relay and of Postgres, and transactions, each beside the same server without a relay.
pub(super) async fn measure(bench: &mut Bench<'_>) -> anyhow::Result<Vec<Figure>> {
    let (alone, alone_rate) = window(bench, bench.servers()).await?;
    let relay = Relay::start(bench.settings).await?;
    let (with, rate) = window(bench, bench.watched(&relay)).await?;
    relay.stop().await?;
    progress(format!("  {rate:.1} transactions a second, {alone_rate:.1} without a relay"));
    let figures = vec![
        Figure::new("idle: relay's processor time", Unit::Cores, cores(&with, "relay")).used(&with),
        Figure::new("idle: PostgreSQL's processor time", Unit::Cores, cores(&with, "postgres"))
            .against("without a relay", cores(&alone, "postgres")),
        Figure::new("idle: transactions", Unit::PerSecond, rate).against("without a relay", alone_rate),
    ];
    Ok(figures)
}

async fn window(bench: &Bench<'_>, watched: Watched) -> anyhow::Result<(Spent, f64)> {
    // Prepares the statement: later that is no transaction any more.
    bench.outbox.transactions().await?;
    sleep(WARM_UP).await;
    let (transactions, before) = (bench.outbox.transactions().await?, watched.read()?);
    sleep(bench.sizes.idle).await;
    let spent = watched.since(&before, 0)?;
    // PostgreSQL may tell of one of them later.
    let committed = (bench.outbox.transactions().await? - transactions - ASKING).max(0);
    Ok((spent.clone(), committed as f64 / spent.wall.as_secs_f64()))
}

fn cores(spent: &Spent, name: &str) -> f64 {
    let cpu = spent.processes.get(name).map(|used| used.cpu).unwrap_or_default();
    cpu.as_secs_f64() / spent.wall.as_secs_f64()
}
