//! Operator commands.

pub mod audit;
mod config;
mod databases;
mod group;
mod outbox;
pub mod replay;
mod restock;
mod time;
mod topics;

use std::process::ExitCode;

pub use config::{Command, Config, Outbox, OutboxCommand};
pub use group::{Group, GroupDatabases};

/// Runs one command; what it did goes to standard output, a line each. `ops audit` has exit statuses of its own.
pub async fn run(config: Config) -> anyhow::Result<ExitCode> {
    match config.command {
        Command::Migrate(databases) => databases::migrate(&databases).await?,
        Command::Topics(kafka) => topics::create(&kafka).await?,
        Command::Audit(settings) => return Ok(audit::run(&settings).await),
        Command::Restock(settings) => restock::run(&settings).await?,
        Command::Outbox(outbox) => outbox::run(&outbox).await?,
        Command::Replay(command) => replay::run(&command).await?,
    }
    Ok(ExitCode::SUCCESS)
}
