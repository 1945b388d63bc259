//! The operator's audit, as its command gives it.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use serde::Deserialize;
use tokio::process::Command;

use super::report::Row;

/// How long the audit may wait for the relay and the consumers: on a slow machine they have a run's backlog to work off.
const WAIT: &str = "240s";
/// How long it may take in all.
const PATIENCE: Duration = Duration::from_secs(400);

/// The part of the audit's JSON that is used here.
#[derive(Debug, Deserialize)]
pub(crate) struct Audit {
    /// Orders that the database has.
    pub(crate) accepted: Accepted,
    /// A row for each stage.
    pub(crate) stages: Vec<Row>,
    /// What a reader should know.
    pub(crate) notes: Vec<String>,
    /// What it did not look at.
    pub(crate) not_checked: Vec<String>,
}

/// Sums over the audited orders.
#[derive(Debug, Deserialize)]
pub(crate) struct Accepted {
    pub(crate) orders: u64,
}

/// Runs `ops audit` over everything that the stack has ever accepted.
pub(crate) async fn audit(ops: &Path) -> anyhow::Result<Audit> {
    let output = Command::new(ops)
        .args(["audit", "--json", "--examples", "10", "--wait", WAIT])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(PATIENCE, output).await.context("ops audit does not end")??;
    // 0: clean, 1: findings, 2: not audited.
    if !matches!(output.status.code(), Some(0 | 1)) {
        bail!("ops audit: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    read(&output.stdout)
}

fn read(json: &[u8]) -> anyhow::Result<Audit> {
    serde_json::from_slice(json).context("ops audit printed something else than its report")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_of_ops_audit_is_read_with_its_findings_and_repeats() {
        let json = br#"{
            "clean": false, "since": null, "until": "2026-01-31T12:00:00Z",
            "accepted": {"orders": 3, "events": 3, "revenue_cents": 100},
            "stages": [{"stage": "email-provider", "of": "orders", "checked": 3, "missing": 1, "doubled": 0, "out_of_order": 0,
                        "repeated": 1, "waiting": 0, "skipped": 0, "out_of_sight": 0,
                        "examples": [{"column": "repeated", "subject": "an order", "detail": "its key"}]}],
            "notes": ["a note"], "not_checked": []
        }"#;
        let audit = read(json).unwrap();
        assert_eq!((audit.accepted.orders, audit.notes.len(), audit.not_checked.len()), (3, 1, 0));
        assert_eq!((audit.stages[0].findings(), audit.stages[0].repeated), (1, 1));
        assert_eq!(audit.stages[0].examples[0].detail, "its key");
        assert!(read(b"clean").is_err());
    }
}
