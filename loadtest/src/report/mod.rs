//! What a load came to: as text, as JSON, and as one HTML file that needs nothing beside it.

pub mod page;
pub mod plots;
pub mod run;
pub mod table;

use std::path::Path;

use anyhow::Context;
use serde::Serialize;

/// Writes `value` as JSON.
///
/// # Errors
/// The file cannot be written.
pub async fn write_json(file: &Path, value: &impl Serialize) -> anyhow::Result<()> {
    write(file, &serde_json::to_string_pretty(value)?).await
}

/// Writes `text`.
///
/// # Errors
/// The file cannot be written.
pub async fn write(file: &Path, text: &str) -> anyhow::Result<()> {
    tokio::fs::write(file, text).await.with_context(|| format!("{} cannot be written", file.display()))
}
