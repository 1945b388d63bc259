//! Operator commands.

pub mod audit;
mod config;
mod databases;
mod group;
mod groups;
mod held;
mod outbox;
mod pause;
pub mod product;
pub mod replay;
mod replays;
mod republish;
mod restock;
mod rewind;
mod time;
mod topics;
pub mod trace;

use std::process::ExitCode;

pub use config::{Command, Config, Outbox, OutboxCommand};
pub use group::{Group, GroupDatabases};

/// The exit status of wrong arguments; also of an audit that could not be made.
const WRONG_ARGUMENTS: u8 = 2;

/// Runs one command; what it did goes to standard output, a line each. `ops audit`, `ops trace` and `ops product` have exit statuses of their own.
pub async fn run(config: Config) -> anyhow::Result<ExitCode> {
    if let Err(wrong) = config.command.check() {
        eprintln!("ops: {wrong}");
        return Ok(ExitCode::from(WRONG_ARGUMENTS));
    }
    match config.command {
        Command::Migrate(databases) => databases::migrate(&databases).await?,
        Command::Topics(kafka) => topics::create(&kafka).await?,
        Command::Audit(settings) => return Ok(audit::run(&settings).await),
        Command::Trace(settings) => return trace::run(&settings).await,
        Command::Product(command) => return product::run(&command).await,
        Command::Restock(settings) => restock::run(&settings).await?,
        Command::Groups(settings) => groups::run(&settings).await?,
        Command::Pause(settings) => pause::pause(&settings).await?,
        Command::Resume(settings) => pause::resume(&settings).await?,
        Command::Rewind(settings) => rewind::run(&settings).await?,
        Command::Republish(settings) => republish::run(&settings).await?,
        Command::Outbox(outbox) => outbox::run(&outbox).await?,
        Command::Held(held) => held::run(&held).await?,
        Command::Replay(command) => replay::run(&command).await?,
    }
    Ok(ExitCode::SUCCESS)
}
