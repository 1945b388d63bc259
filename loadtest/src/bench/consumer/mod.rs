//! How fast the consumer runtime is: consumers of the crate `messaging` in this process, on topics of their own.

mod batches;
mod clock;
mod journal;
mod keys;
mod member;
mod rebalance;
mod slow_key;
mod stage;
mod ticket;

use super::Common;
use super::report::Figure;
use stage::Stage;

/// What to measure.
#[derive(Clone, clap::Args)]
pub struct Settings {
    /// What all benchmarks take.
    #[command(flatten)]
    pub common: Common,
    /// Only these parts: keys, batches, slow-key, rebalance
    #[arg(long, value_name = "PART,..", value_delimiter = ',')]
    pub only: Vec<Part>,
}

/// What can be measured by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// Work on few and many keys beside the busiest key's own work
    Keys,
    /// Batches into Postgres beside the same transactions in a loop
    Batches,
    /// Fast keys beside a slow one
    SlowKey,
    /// How long keys stand still while members come and go
    Rebalance,
}

impl Part {
    const ALL: [Self; 4] = [Self::Keys, Self::Batches, Self::SlowKey, Self::Rebalance];
}

/// Measures everything, or what `only` names, in its order.
///
/// # Errors
/// A server or a process that takes part failed, or a record was lost or came out of order.
pub async fn measure(settings: &Settings) -> anyhow::Result<Vec<Figure>> {
    let stage = Stage::new(&settings.common)?;
    let parts = if settings.only.is_empty() { &Part::ALL[..] } else { &settings.only };
    let mut figures = Vec::new();
    for part in parts {
        figures.extend(match part {
            Part::Keys => keys::measure(&stage).await?,
            Part::Batches => batches::measure(&stage).await?,
            Part::SlowKey => slow_key::measure(&stage).await?,
            Part::Rebalance => rebalance::measure(&stage).await?,
        });
    }
    Ok(figures)
}
