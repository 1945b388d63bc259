//! Redis alone, by its own benchmark.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::process::Command;
use tokio::time::timeout;

use super::{Extent, Settings};
use crate::bench::report::{Figure, Unit};

const PATIENCE: Duration = Duration::from_secs(60);

/// So many connections as the clients have, one GET at a time on each.
pub(super) async fn redis(program: &Path, settings: &Settings, extent: Extent) -> anyhow::Result<Figure> {
    let requests = if settings.output.quick { "20000" } else { "200000" };
    let asking = Command::new(program)
        .args(["-u", &settings.redis_url, "-c", &extent.clients.to_string(), "-n", requests, "--csv"])
        .args(["GET", &product_cache::key(1)])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = timeout(PATIENCE, asking).await.context("it does not end")??;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        bail!("it failed ({}): {text}", output.status);
    }
    // A line of names, then one of values: the second is the rate.
    let rate = text.lines().last().and_then(|line| line.split("\",\"").nth(1));
    let rate: f64 = rate.with_context(|| format!("it said {text:?}"))?.trim_matches('"').parse()?;
    Ok(Figure::new("GET of Redis alone, by redis-benchmark", Unit::PerSecond, rate))
}
