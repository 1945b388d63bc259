//! Commands and their settings.

use std::path::PathBuf;

use chrono::Utc;
use messaging::KafkaSettings;
use uuid::Uuid;

use crate::audit::AuditSettings;
use crate::group::GroupDatabases;
use crate::groups::GroupsSettings;
use crate::held::Held;
use crate::pause::{PauseSettings, ResumeSettings};
use crate::product::ProductCommand;
use crate::replay::ReplayCommand;
use crate::republish::RepublishSettings;
use crate::restock::RestockSettings;
use crate::rewind::RewindSettings;
use crate::time;
use crate::trace::TraceSettings;

/// Operator commands of orderflow.
#[derive(clap::Parser)]
#[command(name = "ops", version)]
pub struct Config {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What an operator can ask for.
#[derive(clap::Subcommand)]
pub enum Command {
    /// Apply the missing migrations to all databases; any number of times, also while services start
    Migrate(Databases),
    /// Create the missing topics, and check the partitions of the others
    Topics(KafkaSettings),
    /// Compare what was accepted with what was published, processed and delivered. Changes nothing
    ///
    /// A row for each stage. The exit status is 0 if nothing is missing, doubled or out of order, 1 if something is, and 2 if the
    /// audit could not be made. What is repeated, waiting or skipped is shown and is no finding.
    Audit(AuditSettings),
    /// Show the way of one order through all services: what was done when, for how long, and what was waited for
    ///
    /// The spans come from Jaeger. A process sends a span only after it has ended, with others, so the last ones arrive late: see --wait.
    /// With --wait the exit status is 1 if the trace is not complete when the time is over. Under TRACE_CONSUMERS=link the consumers have traces
    /// of their own, which are not looked for.
    Trace(TraceSettings),
    /// Add pieces to the stock, as a recorded movement
    Restock(RestockSettings),
    /// Change what the catalogue says of a product
    #[command(subcommand)]
    Product(ProductCommand),
    /// Look at the consumer groups: members, lag, dead letters, and which are paused, by whom and why
    ///
    /// Dead letters are the records on the dead-letter topic, replayed ones too, until retention removes them; ops replay list GROUP --waiting shows what
    /// waits. The exit status is 1 if anything could not be read.
    Groups(GroupsSettings),
    /// Have a consumer group take nothing more from its topics, and wait until it has no members
    ///
    /// It stays so until ops resume, also for consumers that start later. Orders are accepted and published meanwhile and wait on the topic.
    /// Under GROUP_PROTOCOL=consumer members cannot be seen: the command does not wait for them, and they leave within some seconds.
    Pause(PauseSettings),
    /// Let a paused consumer group go on, also one that paused itself because too much went to dead letters
    Resume(ResumeSettings),
    /// Deliver a part of the topic to a consumer group again; the group must have no members: see ops pause
    ///
    /// Only backwards, so nothing is skipped. What a consumer has applied is a repeat to its inbox, and has no second effect. What it could
    /// not apply is tried again and, if it still fails, becomes one more dead letter.
    Rewind(RewindSettings),
    /// Put events of accepted orders into the outbox once more, under their own ids: what Kafka lost comes back
    ///
    /// A consumer that has applied an event does nothing when it comes again, as long as its inbox remembers it (INBOX_RETENTION); an older one
    /// goes to dead letters as beyond-horizon. Running this twice is harmless. What an operator skipped stays skipped.
    Republish(RepublishSettings),
    /// Look at events that Kafka refused, and decide what becomes of them
    Outbox(Outbox),
    /// Look at the keys that a consumer group holds behind a dead letter, and let one go
    Held(Held),
    /// Look at the dead letters of a consumer group, and bring them back
    #[command(subcommand)]
    Replay(ReplayCommand),
}

impl Command {
    /// Refuses arguments of which each is right and all together are not.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        let window = |since, until| time::check_window(since, until, Utc::now());
        match self {
            Self::Audit(audit) => window(audit.since, audit.until),
            Self::Republish(republish) => window(republish.since, republish.until),
            Self::Replay(ReplayCommand::List(list)) => window(list.filters.since, list.filters.until),
            Self::Replay(ReplayCommand::Run(run)) => {
                window(run.filters.since, run.filters.until).and_then(|()| run.check())
            }
            _ => Ok(()),
        }
    }
}

/// Commands about the outbox.
#[derive(clap::Args)]
pub struct Outbox {
    /// Orders database: postgres://user:password@host:port/database
    #[arg(long, env = "ORDERS_DATABASE_URL", hide_env_values = true, value_parser = service_runtime::settings::postgres_url,
          default_value = "postgres://orders:orders@127.0.0.1:15432/orders")]
    pub orders_database_url: String,
    /// What to do.
    #[command(subcommand)]
    pub command: OutboxCommand,
}

/// What an operator can do about a key whose oldest event Kafka refused. Later events of the key wait until it is released.
#[derive(clap::Subcommand)]
pub enum OutboxCommand {
    /// List the blocked keys: since when, how many events wait, why
    Blocked {
        /// Keys to list, the longest blocked first: a number
        #[arg(long, default_value_t = 100)]
        limit: u32,
    },
    /// Show the refused event of a key, payload included
    Show {
        /// The key: a UUID
        key: Uuid,
    },
    /// Leave the refused event out for good and publish the ones after it; who decided that and why is written down
    Skip {
        /// The key: a UUID
        key: Uuid,
        /// Why the event may be left out: a sentence for those who audit this later
        #[arg(long)]
        why: String,
        /// Who decides it: a name
        #[arg(long, env = "USER")]
        by: String,
    },
    /// Replace the payload of the refused event, and try again
    Repair {
        /// The key: a UUID
        key: Uuid,
        /// The new payload: a file with JSON that has the same event id
        #[arg(long)]
        payload: PathBuf,
    },
    /// Try the refused event again as it is, for example after a limit was raised
    Retry {
        /// The key: a UUID
        key: Uuid,
    },
}

/// The database of each service.
#[derive(clap::Args)]
pub struct Databases {
    /// Orders database: postgres://user:password@host:port/database
    #[arg(long, env = "ORDERS_DATABASE_URL", hide_env_values = true, value_parser = service_runtime::settings::postgres_url,
          default_value = "postgres://orders:orders@127.0.0.1:15432/orders")]
    pub orders_database_url: String,
    /// Those of the consumers.
    #[command(flatten)]
    pub consumers: GroupDatabases,
    /// Baseline database: postgres://user:password@host:port/database
    #[arg(long, env = "BASELINE_DATABASE_URL", hide_env_values = true, value_parser = service_runtime::settings::postgres_url,
          default_value = "postgres://baseline:baseline@127.0.0.1:15432/baseline")]
    pub baseline_database_url: String,
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn check(arguments: &str) -> Result<(), &'static str> {
        let arguments = ["ops"].into_iter().chain(arguments.split(' '));
        Config::try_parse_from(arguments).unwrap().command.check()
    }

    #[test]
    fn every_command_with_a_window_refuses_one_in_which_nothing_can_be() {
        for command in
            ["audit", "republish --missing", "replay list email-service", "replay run email-service"]
        {
            assert_eq!(check(&format!("{command} --since 2h --until 1h")), Ok(()), "{command}");
            let refused = check(&format!("{command} --since 1h --until 2h"));
            assert_eq!(refused, Err("--since is later than --until"), "{command}");
            let refused = check(&format!("{command} --since 2999-01-01T00:00:00Z"));
            assert_eq!(refused, Err("--since is in the future"), "{command}");
        }
    }

    #[test]
    fn to_go_beyond_the_horizon_a_run_needs_letters_that_were_looked_at() {
        let run = |more| check(&format!("replay run email-service --beyond-horizon{more}"));
        assert!(run("").unwrap_err().contains("needs --key or --letter"));
        assert_eq!((run(" --key a"), run(" --letter 0/1")), (Ok(()), Ok(())));
    }
}
