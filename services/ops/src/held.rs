//! `ops held`: keys whose records wait behind a dead letter, under `AFTER_DEAD_LETTER=hold-key`.
//!
//! A key is free once its letters are replayed and applied. Letters that nobody will ever apply, or that retention has removed, hold it for good:
//! then only an operator can say that its order ends here.

use anyhow::{Context, bail, ensure};
use contracts::topics::ORDER_EVENTS;
use persistence::held::{HeldKey, HeldRows};

use crate::group::{Group, GroupDatabases};
use crate::pause::{connect, in_time};
use crate::replay::text;
use crate::time;

/// Characters that a key usually has, and those shown of one: who releases it has to name all of it.
const KEY: usize = 36;
const MOST: usize = 1000;

/// Commands about held keys.
#[derive(clap::Args)]
pub struct Held {
    /// Databases.
    #[command(flatten)]
    pub databases: GroupDatabases,
    /// What to do.
    #[command(subcommand)]
    pub command: HeldCommand,
}

/// What an operator can do about a key whose records follow a dead letter instead of being handled (AFTER_DEAD_LETTER=hold-key).
#[derive(clap::Subcommand)]
pub enum HeldCommand {
    /// List the held keys: since when, how many records wait in dead letters, from which offset on
    List {
        /// The consumer group; all of them without it
        #[arg(value_name = "GROUP", value_enum)]
        group: Option<Group>,
        /// Keys to list of each group, the longest held first: a number
        #[arg(long, value_name = "NUMBER", default_value_t = 100)]
        limit: u32,
    },
    /// Let a key go though not all of its dead letters were applied: later records of the key are handled from now on
    ///
    /// For letters that nobody will apply, or that retention has removed; else replay them, and the key is free by itself. Those that are left
    /// can still be replayed, and then come after what was handled meanwhile.
    Release {
        /// The consumer group
        #[arg(value_name = "GROUP", value_enum)]
        group: Group,
        /// The key as list shows it, for example an order id
        #[arg(value_name = "KEY")]
        key: String,
        /// Topic that its records came from
        #[arg(long, value_name = "NAME", default_value = ORDER_EVENTS)]
        topic: String,
    },
}

pub(crate) async fn run(held: &Held) -> anyhow::Result<()> {
    match &held.command {
        HeldCommand::List { group, limit } => list(held, *group, i64::from(*limit)).await,
        HeldCommand::Release { group, key, topic } => release(held, *group, key, topic).await,
    }
}

async fn list(held: &Held, group: Option<Group>, limit: i64) -> anyhow::Result<()> {
    let (mut lines, mut unknown) = (Vec::new(), Vec::new());
    let groups = group.map_or_else(|| Group::ALL.to_vec(), |group| vec![group]);
    for group in groups {
        let rows = HeldRows::new(connect(group, &held.databases)?);
        match in_time(rows.keys(limit)).await {
            Ok(keys) => lines.extend(keys.iter().map(|key| line(group, key))),
            Err(error) => unknown.push(format!("{group}: {error:#}")),
        }
    }
    if !lines.is_empty() {
        println!(
            "{:<18}  {:<KEY$}  {:<20}  {:>9}  {:>7}  TOPIC AND FIRST OFFSET",
            "GROUP", "KEY", "HELD SINCE", "AGE", "RECORDS"
        );
        lines.iter().for_each(|line| println!("{line}"));
    } else if unknown.is_empty() {
        println!("no key is held");
    }
    ensure!(unknown.is_empty(), "not everything could be read: {}", unknown.join("; "));
    Ok(())
}

fn line(group: Group, held: &HeldKey) -> String {
    let (key, since, age) = (text::bytes(&held.key, MOST), time::show(held.since), time::age(held.since));
    let HeldKey { topic, records, first, .. } = held;
    format!("{group:<18}  {key:<KEY$}  {since:<20}  {age:>9}  {records:>7}  {topic} from {first}")
}

async fn release(held: &Held, group: Group, key: &str, topic: &str) -> anyhow::Result<()> {
    let rows = HeldRows::new(connect(group, &held.databases)?);
    let released = in_time(rows.release_key(topic, key.as_bytes())).await;
    let released =
        released.with_context(|| format!("whether key {key} was released is not known, run it again"))?;
    if released == 0 {
        bail!("{group} does not hold key {key} of {topic}: ops held list {group}");
    }
    println!(
        "{group} does not hold key {key} any more: later records of it are handled from now on. {released} records of it were held; \
         their letters stay where they are, and one that is replayed now comes after them: ops replay list {group} --key {key}"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    #[test]
    fn a_key_is_shown_whole_however_long_so_that_it_can_be_named() {
        let name = "customer/1234567890/order/1234567890/line/7";
        let held = HeldKey {
            topic: ORDER_EVENTS.to_owned(),
            key: name.as_bytes().to_vec(),
            records: 2,
            first: 17,
            since: DateTime::UNIX_EPOCH,
        };
        let line = line(Group::Email, &held);
        assert!(line.contains(name) && line.ends_with("2  order.events from 17"), "{line}");
    }
}
