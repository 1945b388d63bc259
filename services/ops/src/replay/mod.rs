//! `ops replay`: the way back for dead letters.
//!
//! A letter goes to the retry topic of the group that gave it up, and nowhere else: no other group reads it, and the topic that it
//! came from does not change. What was replayed is read from the retry topic itself, where each record names its letter. There is no
//! other state to lose: a run that ended half way goes on where it stopped when it is started again.
//!
//! The retry topic forgets a replay after its retention, perhaps before the dead-letter topic forgets the letter. Such a letter shows as
//! waiting again; replayed once more, the group's inbox drops it, or its horizon stops it.
//!
//! `plan` decides what is sent in which order, without I/O.

mod filter;
mod follow;
mod letters;
mod list;
mod pace;
mod place;
mod plan;
mod run;
mod settings;
mod show;
pub(crate) mod text;

pub use place::LetterPlace;
pub use settings::{DeadLetterTopic, Filters, ListSettings, ReplayCommand, RunSettings, ShowSettings};

pub(crate) async fn run(command: &ReplayCommand) -> anyhow::Result<()> {
    match command {
        ReplayCommand::List(settings) => list::list(settings).await,
        ReplayCommand::Show(settings) => show::show(settings).await,
        ReplayCommand::Run(settings) => run::run(settings).await,
    }
}
