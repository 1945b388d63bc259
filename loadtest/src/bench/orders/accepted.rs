//! How many orders are taken per second, beside how many textbook transactions the database does.

use std::path::Path;

use anyhow::Context;

use super::sizes::Sizes;
use super::stage::Stage;
use super::{clients, pgbench};
use crate::bench::progress;
use crate::bench::relay::numbers::median;
use crate::bench::report::{Figure, Spent, Target, Unit, number};

/// The best of what pgbench does, and with how many clients.
///
/// # Errors
/// pgbench failed.
pub(super) async fn reference(program: &Path, url: &str, sizes: Sizes) -> anyhow::Result<(f64, u32)> {
    let database = persistence::pool::connect_lazy(url, 1, "bench")?;
    // One more in front, so that no figure pays for caches that are cold.
    pgbench::rate(program, url, 8, sizes.trial).await?;
    let mut best = (0.0, 0);
    for clients in sizes.pgbench_clients {
        let rate = pgbench::rate(program, url, *clients, sizes.slice).await?;
        progress(format!("  pgbench, {clients} clients: {}/s", number(rate)));
        if rate > best.0 {
            best = (rate, *clients);
        }
        pgbench::forget(&database).await?;
    }
    database.close().await;
    Ok(best)
}

/// What was found, for the parts that follow.
pub(super) struct Accepted {
    pub(super) figures: Vec<Figure>,
    /// Orders accepted per second, the median.
    pub(super) rate: f64,
    /// Orders per second with all effects.
    pub(super) whole_rate: f64,
}

/// Tries numbers of clients, and measures the best.
///
/// # Errors
/// An order was not accepted, or an effect is missing.
pub(super) async fn measure(
    stage: &mut Stage,
    sizes: Sizes,
    reference: (f64, u32),
) -> anyhow::Result<Accepted> {
    let shop = stage.shop;
    let mut best = (0.0, 0);
    for (seed, number_of_clients) in (2..).zip(sizes.clients) {
        let tried = stage
            .put(async |_, _| clients::closed(shop, *number_of_clients, sizes.trial, seed).await)
            .await?;
        progress(format!("  {number_of_clients} clients: {}/s accepted", number(tried.tally.rate())));
        if tried.tally.rate() > best.0 {
            best = (tried.tally.rate(), *number_of_clients);
        }
    }
    let (_, clients_at_best) = best;
    let (mut rates, mut whole_rates, mut spent, mut wal) = (Vec::new(), Vec::new(), Spent::default(), 0);
    for round in 0..sizes.slices {
        let outcome = stage
            .put(async |_, _| clients::closed(shop, clients_at_best, sizes.slice, 100 + round).await)
            .await?;
        let (rate, whole) = (outcome.tally.rate(), outcome.whole_rate());
        progress(format!("  {}/s accepted, {}/s with all effects", number(rate), number(whole)));
        rates.push(rate);
        whole_rates.push(whole);
        spent.add(&outcome.spent);
        wal += outcome.wal;
    }
    let rate = median(rates).context("nothing was measured")?;
    let whole_rate = median(whole_rates).context("nothing was measured")?;
    let wal_per_order = wal as f64 / spent.events.max(1) as f64;
    let (pgbench, pgbench_clients) = reference;
    let against = format!("pgbench, {pgbench_clients} clients, nothing else running");
    let figures = vec![
        Figure::new(format!("orders accepted, {clients_at_best} clients"), Unit::PerSecond, rate)
            .target(Target::RatioAtLeast(1.0))
            .against(&against, pgbench)
            .used(&spent),
        Figure::new("the same orders with all effects", Unit::PerSecond, whole_rate)
            .against(&against, pgbench),
        Figure::new("bytes of write-ahead log per order, all databases", Unit::Number, wal_per_order),
    ];
    Ok(Accepted { figures, rate, whole_rate })
}
