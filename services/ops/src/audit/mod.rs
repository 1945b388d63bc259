//! `ops audit`: what was accepted against what was published, processed and delivered.
//!
//! The order of the steps is what makes the answer right while the shop goes on:
//!
//! 1. the accepted orders, from one snapshot;
//! 2. wait, for a bounded time, until the outbox is past them and every group has committed the then end of the topic
//!    and of its retry topic;
//! 3. the effects, each database from one snapshot. What is not there now had its time;
//! 4. the rest of the outbox, then the topic to its end: what is in neither was never published;
//! 5. the dead letters that wait, and whether the effects and events that belong to no audited order belong to any.

mod accepted;
pub mod compare;
mod database;
mod effects;
mod letters;
mod protocol;
mod provider;
mod report;
mod settings;
mod stages;
mod topic;

use std::process::ExitCode;
use std::time::Duration;

pub use protocol::audit;
pub(crate) use protocol::{MissingEvents, Search, find_missing};
pub use report::{AcceptedTotals, Report};
pub use settings::{AuditDatabases, AuditSettings, Provider};

/// How long Kafka, the provider or a database may take for an answer. An audit waits for minutes anyhow, and is made when things go badly.
const PATIENCE: Duration = Duration::from_secs(60);
/// The exit status of an audit that could not be made.
const NOT_AUDITED: u8 = crate::WRONG_ARGUMENTS;

/// Audits and prints the report. The exit status is 0 without findings, 1 with findings, 2 if the audit could not be made.
pub(crate) async fn run(settings: &AuditSettings) -> ExitCode {
    let report = match audit(settings).await {
        Ok(report) => report,
        Err(error) => {
            eprintln!("ops: could not audit: {error:#}");
            return ExitCode::from(NOT_AUDITED);
        }
    };
    match if settings.json { report.json() } else { Ok(report.to_string()) } {
        Ok(text) => println!("{text}"),
        Err(error) => {
            eprintln!("ops: could not write the report: {error}");
            return ExitCode::from(NOT_AUDITED);
        }
    }
    if report.clean { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
