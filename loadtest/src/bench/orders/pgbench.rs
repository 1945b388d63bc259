//! The reference: how many textbook order transactions the same database does, one client per connection.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use sqlx::PgPool;
use tokio::process::Command;

/// The transaction.
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/pgbench/order.sql");

/// Transactions per second of `clients` that run the script for `length` on the database at `url`.
///
/// # Errors
/// pgbench failed, or did not say how many there were.
pub(super) async fn rate(pgbench: &Path, url: &str, clients: u32, length: Duration) -> anyhow::Result<f64> {
    let output = Command::new(pgbench)
        .args(["--no-vacuum", "--protocol", "prepared", "--jobs", "2"])
        .args(["--client", &clients.to_string(), "--time", &length.as_secs().max(1).to_string()])
        .args(["--file", SCRIPT, url])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let patience = length + Duration::from_secs(60);
    let output = tokio::time::timeout(patience, output).await.context("pgbench does not end")??;
    if !output.status.success() {
        bail!("pgbench: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    read(&String::from_utf8_lossy(&output.stdout)).context("pgbench said no rate")
}

fn read(output: &str) -> Option<f64> {
    let line = output.lines().find_map(|line| line.strip_prefix("tps = "))?;
    line.split(' ').next()?.parse().ok()
}

/// Removes what it wrote, before the relay finds it.
///
/// # Errors
/// The database did not.
pub(super) async fn forget(database: &PgPool) -> anyhow::Result<()> {
    sqlx::raw_sql("TRUNCATE outbox, order_items, orders; CHECKPOINT")
        .execute(database)
        .await
        .context("what pgbench wrote cannot be removed")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_read_from_what_pgbench_prints() {
        let output = "latency average = 2.4 ms\ninitial connection time = 9.1 ms\ntps = 6591.275410 (without initial connection time)\n";
        assert_eq!(read(output), Some(6591.27541));
        assert_eq!(read("nothing"), None);
    }
}
