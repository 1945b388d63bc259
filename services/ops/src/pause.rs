//! `ops pause` and `ops resume`: an operator's word about a consumer group.
//!
//! The word is a row in the group's own database. Every process of the group reads it each second, and before it joins the group, so it
//! holds for those that start later too. A paused group has no members: its offsets can be changed, and nothing of it runs.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use messaging::{KafkaSettings, groups};
use persistence::intake::{self, Paused};
use service_runtime::settings::duration;
use sqlx::PgPool;
use tokio::time::Instant;

use crate::group::{Group, GroupDatabases};
use crate::time;

/// How long Kafka or a database may take for an answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long Kafka may take to say whether the group has members before it is paused.
const BEFORE: Duration = Duration::from_secs(2);
/// How often we look whether the members have left.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Which group to pause, and why.
#[derive(clap::Args)]
pub struct PauseSettings {
    /// The consumer group
    #[arg(value_name = "GROUP", value_enum)]
    pub group: Group,
    /// Why: a sentence for those who find the group paused
    #[arg(long, value_name = "TEXT")]
    pub why: String,
    /// Who decides it: a name
    #[arg(long, value_name = "NAME", env = "USER")]
    pub by: String,
    /// How long to wait until the members that can be seen have left: a duration such as 15s. The pause stands, whether or not they have by then
    #[arg(long, value_name = "DURATION", default_value = "15s", value_parser = duration)]
    pub wait: Duration,
    /// Brokers.
    #[command(flatten)]
    pub kafka: KafkaSettings,
    /// Databases.
    #[command(flatten)]
    pub databases: GroupDatabases,
}

/// Which group goes on.
#[derive(clap::Args)]
pub struct ResumeSettings {
    /// The consumer group
    #[arg(value_name = "GROUP", value_enum)]
    pub group: Group,
    /// Databases.
    #[command(flatten)]
    pub databases: GroupDatabases,
}

pub(crate) async fn pause(settings: &PauseSettings) -> anyhow::Result<()> {
    let PauseSettings { group, why, by, kafka, .. } = settings;
    ensure!(!why.trim().is_empty() && !by.trim().is_empty(), "--why and --by must say something");
    let pool = connect(*group, &settings.databases)?;
    // Whether anybody is there to follow the word; asked before it is said. If Kafka is away the word does not wait for it.
    let before = tokio::time::timeout(BEFORE, members(kafka, *group)).await;
    let written = in_time(intake::pause(&pool, by, why)).await;
    if !written.with_context(|| format!("{group} was not paused"))?
        && let Some(paused) = in_time(intake::paused(&pool)).await?
    {
        println!("{group} was paused before, {}", said(&paused));
    }
    wait_until_empty(kafka, *group, settings.wait).await?;
    if matches!(before, Ok(Ok(0))) {
        println!(
            "{group} is paused; a consumer that starts takes nothing. Members were not seen before either: there was none, or they are of \
             GROUP_PROTOCOL=consumer, which cannot be seen, and leave within some seconds"
        );
    } else {
        println!("{group} is paused: it has no members");
    }
    Ok(())
}

async fn wait_until_empty(kafka: &KafkaSettings, group: Group, wait: Duration) -> anyhow::Result<()> {
    let (deadline, mut shown) = (Instant::now() + wait, 0);
    loop {
        let left = members(kafka, group).await;
        match left.with_context(|| format!("{group} is told to pause, but whether it did is not known"))? {
            0 => return Ok(()),
            left if Instant::now() + LOOK_EVERY > deadline => bail!(
                "{group} is told to pause, but still has {left} members after {wait:?}. A consumer reads the word from its database each \
                 second, and finishes what it has begun; one that was killed counts for some seconds more. ops groups shows them"
            ),
            left if left != shown => {
                eprintln!("{group}: {left} members have not left yet");
                shown = left;
            }
            _ => {}
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

pub(crate) async fn resume(settings: &ResumeSettings) -> anyhow::Result<()> {
    let group = settings.group;
    let pool = connect(group, &settings.databases)?;
    let paused = in_time(intake::paused(&pool)).await.with_context(|| format!("{group} was not resumed"))?;
    let resumed = in_time(intake::resume(&pool)).await.with_context(|| format!("{group} was not resumed"))?;
    match paused {
        Some(paused) if resumed => println!("{group} goes on; it was paused {}", said(&paused)),
        // Somebody paused or resumed it between the two statements.
        None if resumed => println!("{group} goes on"),
        _ => println!("{group} was not paused"),
    }
    Ok(())
}

/// Who paused a group, since when and why.
pub(crate) fn said(paused: &Paused) -> String {
    format!("since {} by {}: {}", time::show(paused.since), paused.by, paused.why)
}

/// How many members the group has.
pub(crate) async fn members(kafka: &KafkaSettings, group: Group) -> Result<usize, groups::GroupError> {
    groups::members(kafka, group.name(), PATIENCE).await
}

/// The database of the group.
pub(crate) fn connect(group: Group, databases: &GroupDatabases) -> anyhow::Result<PgPool> {
    Ok(persistence::pool::connect_lazy(group.database(databases), 1, "ops")?)
}

/// Bounds a wait for the database.
pub(crate) async fn in_time<T>(work: impl Future<Output = Result<T, sqlx::Error>>) -> anyhow::Result<T> {
    Ok(tokio::time::timeout(PATIENCE, work).await.context("the database does not answer")??)
}
