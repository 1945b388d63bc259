//! Operator commands.

mod config;
mod databases;
mod topics;

pub use config::{Command, Config};

/// Runs one command; what it did goes to standard output, a line each.
pub async fn run(config: Config) -> anyhow::Result<()> {
    match config.command {
        Command::Migrate(databases) => databases::migrate(&databases).await,
        Command::Topics(kafka) => topics::create(&kafka).await,
    }
}
