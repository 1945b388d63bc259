//! Settings of `ops replay`.

use std::num::NonZeroUsize;

use chrono::{DateTime, Utc};
use contracts::topics::ORDER_EVENTS;
use messaging::KafkaSettings;

use super::place::LetterPlace;
use crate::group::Group;
use crate::time;

/// What an operator can do about dead letters.
#[derive(clap::Subcommand)]
pub enum ReplayCommand {
    /// List the dead letters of a consumer group, the oldest first, and how many wait for which reason
    List(ListSettings),
    /// Show all that is known about one dead letter, its payload too, which may hold personal data
    Show(ShowSettings),
    /// Send dead letters to the group's own retry topic, where no other group reads them; one run per group at a time
    ///
    /// Letters that were replayed before are left out, so a run that was interrupted goes on where it stopped when it is started again. What
    /// fails again becomes a new dead letter, which counts how often it was replayed. Letters that arrive during the run are not its concern.
    Run(RunSettings),
}

/// Whose dead letters, and where they are.
#[derive(Clone, Debug, clap::Args)]
pub struct DeadLetterTopic {
    /// Consumer group that gave the letters up
    #[arg(value_name = "GROUP")]
    pub group: Group,
    /// Topic that the letters came from
    #[arg(long, value_name = "NAME", default_value = ORDER_EVENTS)]
    pub topic: String,
    /// Brokers.
    #[command(flatten)]
    pub kafka: KafkaSettings,
}

/// Which letters. A letter has to pass all that are given.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Filters {
    /// Only letters whose reason contains this text
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Only letters of this key, for example an order id
    #[arg(long)]
    pub key: Option<String>,
    /// Only the letter at this place, such as 3/17; may be given several times
    #[arg(long = "letter", value_name = "PARTITION/OFFSET")]
    pub letters: Vec<LetterPlace>,
    /// Not the letter at this place, such as one that Kafka refuses every time; may be given several times. The letters of a held key wait for it
    #[arg(long, value_name = "PARTITION/OFFSET")]
    pub except: Vec<LetterPlace>,
    /// Only letters written at this time or later: 2026-01-31T12:00:00Z, or a duration back from now such as 15m
    #[arg(long, value_name = "TIME", value_parser = time::parse)]
    pub since: Option<DateTime<Utc>>,
    /// Only letters written at this time or earlier; the same forms
    #[arg(long, value_name = "TIME", value_parser = time::parse)]
    pub until: Option<DateTime<Utc>>,
}

/// Settings of `ops replay list`.
#[derive(Clone, Debug, clap::Args)]
pub struct ListSettings {
    /// Whose letters.
    #[command(flatten)]
    pub source: DeadLetterTopic,
    /// Which of them.
    #[command(flatten)]
    pub filters: Filters,
    /// Only letters that wait. Waiting: not replayed, also if `run` would leave it out
    #[arg(long)]
    pub waiting: bool,
    /// Letters to list, the oldest first: a number from 1 to 100000. All are counted
    #[arg(long, value_name = "NUMBER", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub limit: u32,
    /// Print JSON and nothing else
    #[arg(long)]
    pub json: bool,
}

/// Settings of `ops replay show`.
#[derive(Clone, Debug, clap::Args)]
pub struct ShowSettings {
    /// Whose letter.
    #[command(flatten)]
    pub source: DeadLetterTopic,
    /// Which: its place in the dead-letter topic as `list` shows it, such as 3/17
    #[arg(value_name = "PARTITION/OFFSET")]
    pub letter: LetterPlace,
}

/// Settings of `ops replay run`.
#[derive(Clone, Debug, clap::Args)]
pub struct RunSettings {
    /// Whose letters.
    #[command(flatten)]
    pub source: DeadLetterTopic,
    /// Which of them.
    #[command(flatten)]
    pub filters: Filters,
    /// Print what would be sent, and send nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Letters a second: a number from 1 to 100000. Lower leaves the group more room for what is new
    #[arg(long, value_name = "NUMBER", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub rate: u32,
    /// Leave out what was replayed as often as this and failed each time: a number from 1 to 1000. It stops what goes round in circles
    #[arg(long, value_name = "NUMBER", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub max_replays: u32,
    /// Send letters that were replayed before as well. What was applied since is dropped by the group's inbox
    #[arg(long)]
    pub again: bool,
    /// Send the chosen letters that are beyond the horizon as well; only with --key or --letter. The group's inbox has forgotten whether their events were applied,
    /// and applies them now: an effect may double, so look first
    #[arg(long)]
    pub beyond_horizon: bool,
    /// Letters to send at most; the others wait for the next run. A held key that does not fit waits whole
    #[arg(long, value_name = "NUMBER")]
    pub limit: Option<NonZeroUsize>,
}

impl RunSettings {
    /// Refuses leave that nobody in particular is given.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        if self.beyond_horizon && self.filters.key.is_none() && self.filters.letters.is_empty() {
            return Err(
                "--beyond-horizon needs --key or --letter: such an event may have been applied before, so each has to be looked at",
            );
        }
        Ok(())
    }
}
