//! `ops rewind`: a group reads a part of the topic again.
//!
//! Only backwards: an offset is never moved over a record that the group has not passed. What comes again is a repeat to the inbox, so
//! nothing is doubled; what the inbox no longer remembers goes to dead letters instead of being applied by guess.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use chrono::{DateTime, Utc};
use contracts::topics::ORDER_EVENTS;
use messaging::KafkaSettings;
use messaging::groups::{self, GroupError};
use messaging::reader::TopicReader;

use crate::group::{Group, GroupDatabases};
use crate::pause::{connect, in_time, members};
use crate::time;
use messaging::offsets::next_offset;

/// How long Kafka may take for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Which group to set back, and how far.
#[derive(clap::Args)]
pub struct RewindSettings {
    /// The consumer group
    #[arg(value_name = "GROUP", value_enum)]
    pub group: Group,
    /// Where to begin again: earliest, a time such as 2026-01-31T12:00:00Z, or a duration back from now such as 15m. By the time at which a record was published
    #[arg(long, value_name = "TIME", value_parser = target)]
    pub to: Target,
    /// Only this partition: a number from 0. May be given several times
    #[arg(long = "partition", value_name = "NUMBER")]
    pub partitions: Vec<usize>,
    /// Say what would be done, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Brokers.
    #[command(flatten)]
    pub kafka: KafkaSettings,
    /// Databases.
    #[command(flatten)]
    pub databases: GroupDatabases,
}

/// Where a group begins again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// With the oldest record that is left.
    Earliest,
    /// With the first record that was published at this time or later.
    Time(DateTime<Utc>),
}

fn target(text: &str) -> Result<Target, String> {
    match text {
        "earliest" => Ok(Target::Earliest),
        _ => time::parse(text).map(Target::Time).map_err(|said| format!("{said}, or earliest")),
    }
}

/// What happens to one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Move {
    partition: usize,
    /// What the group has committed.
    from: i64,
    to: i64,
    /// The end of what it reads again: `from`, or that of the partition if Kafka has lost the records before `from`.
    end: i64,
}

impl Move {
    fn records(&self) -> i64 {
        self.end - self.to
    }

    /// How many of the records are before `offset`.
    fn before(&self, offset: i64) -> i64 {
        (offset.min(self.end) - self.to).max(0)
    }
}

pub(crate) async fn run(settings: &RewindSettings) -> anyhow::Result<()> {
    let RewindSettings { group, kafka, dry_run, .. } = settings;
    let reader = TopicReader::connect(kafka, ORDER_EVENTS, PATIENCE).await?;
    let last = reader.partitions().saturating_sub(1);
    if let Some(unknown) = settings.partitions.iter().find(|partition| **partition > last) {
        bail!("{ORDER_EVENTS} has no partition {unknown}: they are 0 to {last}");
    }
    let members = members(kafka, *group).await?;
    let has_members = format!(
        "{group} has members ({members}), and can be set back only while it has none: ops pause {group} --why TEXT"
    );
    ensure!(members == 0 || *dry_run, "{has_members}");

    let moves = plan(&reader, settings).await?;
    print(&moves);
    if moves.is_empty() {
        println!("{group} is not past that in any of these partitions: nothing was changed");
        return Ok(());
    }
    warn_of_forgotten_events(&reader, settings, &moves).await?;
    let records: i64 = moves.iter().map(Move::records).sum();
    if *dry_run {
        if members > 0 {
            eprintln!("{has_members}");
        }
        println!("{records} records would be delivered again. Nothing was changed.");
        return Ok(());
    }
    let offsets = moves
        .iter()
        .map(|change| Ok((i32::try_from(change.partition)?, change.to)))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let committed = groups::commit(kafka, group.name(), ORDER_EVENTS, &offsets, PATIENCE).await;
    committed.map_err(|error| not_committed(*group, error))?;
    println!(
        "{records} records are delivered to {group} again as soon as it runs. If it is paused: ops resume {group}"
    );
    Ok(())
}

async fn plan(reader: &TopicReader, settings: &RewindSettings) -> anyhow::Result<Vec<Move>> {
    let watermarks = reader.watermarks().await?;
    let targets = match settings.to {
        Target::Earliest => watermarks.iter().map(|(low, _)| Some(*low)).collect(),
        Target::Time(at) => reader.offsets_at(at.timestamp_millis()).await?,
    };
    let committed = reader.committed(settings.group.name()).await?;
    let mut moves = back(&targets, &watermarks, &committed);
    moves.retain(|change| settings.partitions.is_empty() || settings.partitions.contains(&change.partition));
    Ok(moves)
}

/// Only with a refusal is it sure that nothing was changed: an answer that did not come may have been lost on its way.
fn not_committed(group: Group, error: GroupError) -> anyhow::Error {
    let what = match error {
        GroupError::HasMembers(_) => format!("{group} was not set back"),
        _ => format!("whether {group} was set back is not known, run it again"),
    };
    anyhow::Error::new(error).context(what)
}

/// The partitions whose group is past its target. `None` as a target: no record is that young. `None` as an offset: the group has committed
/// nothing there, and begins with the oldest record anyhow. So it does where it has committed more than the partition has: Kafka has lost
/// the end of it, and what stands there now the group may never have read, at whatever offset.
fn back(targets: &[Option<i64>], watermarks: &[(i64, i64)], committed: &[Option<i64>]) -> Vec<Move> {
    let partitions = targets.iter().zip(watermarks).zip(committed).enumerate();
    let moves = partitions.filter_map(|(partition, ((target, (low, high)), committed))| {
        let from = (*committed)?;
        let to = if from > *high {
            next_offset(Some(from), (*low, *high))
        } else {
            target.unwrap_or(*high).max(*low)
        };
        (to < from).then_some(Move { partition, from, to, end: from.min(*high) })
    });
    moves.collect()
}

fn print(moves: &[Move]) {
    if !moves.is_empty() {
        println!("{:>9} {:>12} {:>12} {:>10}", "PARTITION", "FROM", "TO", "RECORDS");
    }
    for change in moves {
        println!("{:>9} {:>12} {:>12} {:>10}", change.partition, change.from, change.to, change.records());
    }
    let lost = moves.iter().filter(|change| change.end < change.from);
    for Move { partition, from, end, .. } in lost {
        eprintln!(
            "partition {partition} ends at {end}, before the group's {from}: Kafka has lost records, so the group begins with the oldest one"
        );
    }
}

async fn warn_of_forgotten_events(
    reader: &TopicReader,
    settings: &RewindSettings,
    moves: &[Move],
) -> anyhow::Result<()> {
    let group = settings.group;
    let pool = connect(group, &settings.databases)?;
    // -infinity, which is no time to chrono: nothing was ever pruned.
    let horizon = sqlx::query_scalar("SELECT nullif(pruned_up_to, '-infinity') FROM inbox_horizon");
    let horizon: Option<DateTime<Utc>> =
        in_time(horizon.fetch_one(&pool)).await.with_context(|| format!("database of {group}"))?;
    let Some(horizon) = horizon else { return Ok(()) };
    let known_from = reader.offsets_at(horizon.timestamp_millis()).await?;
    let forgotten = |change: &Move| match known_from.get(change.partition) {
        Some(Some(offset)) => change.before(*offset),
        // No record is younger than the horizon.
        _ => change.records(),
    };
    let forgotten: i64 = moves.iter().map(forgotten).sum();
    if forgotten > 0 {
        eprintln!(
            "warning: {forgotten} of these records were published before {}, which is as far back as the inbox of {group} remembers: they go to \
             dead letters as beyond-horizon, since nobody knows whether they were applied",
            time::show(horizon)
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_moved_back_and_never_forward() {
        let watermarks = [(10, 100); 6];
        let targets = [Some(50), Some(50), Some(50), None, Some(3), Some(50)];
        let committed = [Some(80), Some(50), Some(20), Some(100), Some(100), None];
        let moves = back(&targets, &watermarks, &committed);
        assert_eq!(
            moves,
            [
                Move { partition: 0, from: 80, to: 50, end: 80 },
                Move { partition: 4, from: 100, to: 10, end: 100 }
            ],
            "not: at its target, before it, nothing that young, nothing committed"
        );
        assert_eq!(moves.iter().map(Move::records).collect::<Vec<_>>(), [30, 90]);
    }

    #[test]
    fn where_kafka_has_lost_its_end_a_group_begins_with_the_oldest_record_whatever_the_target() {
        let (lost, empty) = ((10, 95), (95, 95));
        let moves = back(&[None, Some(90), None], &[lost, lost, empty], &[Some(100); 3]);
        let to = |partition, to| Move { partition, from: 100, to, end: 95 };
        assert_eq!(moves, [to(0, 10), to(1, 10), to(2, 95)]);
        assert_eq!(moves.iter().map(Move::records).collect::<Vec<_>>(), [85, 85, 0]);
    }

    #[test]
    fn only_a_refusal_says_that_nothing_was_changed() {
        let said = |error| format!("{:#}", not_committed(Group::Email, error));
        let refused = said(GroupError::HasMembers("email-service".to_owned()));
        assert!(refused.starts_with("email-service was not set back"), "{refused}");
        let silence = said(GroupError::Silence(PATIENCE));
        assert!(
            silence.starts_with("whether email-service was set back is not known, run it again"),
            "{silence}"
        );
    }

    #[test]
    fn only_the_records_before_an_offset_count_as_before_it() {
        let change = Move { partition: 0, from: 80, to: 50, end: 80 };
        assert_eq!([40, 50, 60, 80, 90].map(|offset| change.before(offset)), [0, 0, 10, 30, 30]);
    }

    #[test]
    fn a_target_is_earliest_or_a_time() {
        assert_eq!(target("earliest"), Ok(Target::Earliest));
        assert_eq!(target("1970-01-01T00:00:00Z"), Ok(Target::Time(DateTime::UNIX_EPOCH)));
        assert!(target("latest").unwrap_err().contains("or earliest"));
    }
}
