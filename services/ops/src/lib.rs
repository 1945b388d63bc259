//! Operator commands.

mod config;
mod databases;
mod outbox;
mod topics;

pub use config::{Command, Config, Outbox, OutboxCommand};

/// Runs one command; what it did goes to standard output, a line each.
pub async fn run(config: Config) -> anyhow::Result<()> {
    match config.command {
        Command::Migrate(databases) => databases::migrate(&databases).await,
        Command::Topics(kafka) => topics::create(&kafka).await,
        Command::Outbox(outbox) => outbox::run(&outbox).await,
    }
}
