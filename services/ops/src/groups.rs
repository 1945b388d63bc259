//! `ops groups`: the four consumer groups at a glance.

use std::fmt;
use std::time::Duration;

use anyhow::ensure;
use chrono::{DateTime, Utc};
use contracts::topics::ORDER_EVENTS;
use futures::future::join_all;
use messaging::reader::{ReadError, TopicReader};
use messaging::{KafkaSettings, dead_letters};
use persistence::intake;
use serde::Serialize;

use crate::group::{Group, GroupDatabases};
use crate::pause::{connect, in_time, members};
use crate::time;
use messaging::offsets::{behind, next_offsets};

/// How long Kafka may take for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where the groups are.
#[derive(clap::Args)]
pub struct GroupsSettings {
    /// Print JSON and nothing else
    #[arg(long)]
    pub json: bool,
    /// Brokers.
    #[command(flatten)]
    pub kafka: KafkaSettings,
    /// Databases.
    #[command(flatten)]
    pub databases: GroupDatabases,
}

/// What is known of a group; `None` is what could not be read. The names of the fields are those of the JSON and stay.
#[derive(Debug, Default, Serialize)]
struct State {
    group: &'static str,
    /// Consumers in it.
    members: Option<usize>,
    /// Records of the source topic that it has not passed.
    lag: Option<i64>,
    /// Records of its retry topic that it has not passed.
    retry_lag: Option<i64>,
    /// Records on its dead-letter topic.
    dead_letters: Option<i64>,
    paused: Option<Pause>,
    /// What could not be read, and why.
    unknown: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Pause {
    since: DateTime<Utc>,
    by: String,
    why: String,
}

pub(crate) async fn run(settings: &GroupsSettings) -> anyhow::Result<()> {
    let states = join_all(Group::ALL.map(|group| look(group, settings))).await;
    if settings.json {
        println!("{}", serde_json::to_string_pretty(&states)?);
    } else {
        println!("{}", Table(&states));
    }
    let unknown: Vec<&str> = states.iter().flat_map(|state| &state.unknown).map(String::as_str).collect();
    ensure!(unknown.is_empty(), "not everything could be read: {}", unknown.join("; "));
    Ok(())
}

async fn look(group: Group, settings: &GroupsSettings) -> State {
    let (kafka, name) = (&settings.kafka, group.name());
    let mut state = State { group: name, ..State::default() };
    let retry = dead_letters::retry_topic(ORDER_EVENTS, name);
    let letters = dead_letters::topic(ORDER_EVENTS, name);
    let (count, lag, retry_lag, dead_letters, paused) = tokio::join!(
        members(kafka, group),
        lag(kafka, ORDER_EVENTS, name),
        lag(kafka, &retry, name),
        records(kafka, &letters),
        async { in_time(intake::paused(&connect(group, &settings.databases)?)).await },
    );
    state.members = state.known("members", count);
    state.lag = state.known("lag", lag);
    state.retry_lag = state.known("lag on the retry topic", retry_lag);
    state.dead_letters = state.known("dead letters", dead_letters);
    let paused = state.known("whether it is paused", paused).flatten();
    state.paused = paused.map(|paused| Pause { since: paused.since, by: paused.by, why: paused.why });
    state
}

impl State {
    fn known<T, E: Into<anyhow::Error>>(&mut self, what: &str, answer: Result<T, E>) -> Option<T> {
        answer.map_err(|error| self.unknown.push(format!("{}: {what}: {:#}", self.group, error.into()))).ok()
    }
}

/// Records that the group has not passed.
async fn lag(kafka: &KafkaSettings, topic: &str, group: &str) -> Result<i64, ReadError> {
    let reader = TopicReader::connect(kafka, topic, PATIENCE).await?;
    let (committed, watermarks) = (reader.committed(group).await?, reader.watermarks().await?);
    Ok(behind(&next_offsets(&committed, &watermarks), &watermarks))
}

async fn records(kafka: &KafkaSettings, topic: &str) -> Result<i64, ReadError> {
    let watermarks = TopicReader::connect(kafka, topic, PATIENCE).await?.watermarks().await?;
    Ok(watermarks.iter().map(|(low, high)| high - low).sum())
}

struct Table<'a>(&'a [State]);

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:<18} {:>7} {:>8} {:>9} {:>12}  PAUSED",
            "GROUP", "MEMBERS", "LAG", "RETRY LAG", "DEAD LETTERS"
        )?;
        for state in self.0 {
            let number = |number: Option<i64>| number.map_or("?".to_owned(), |number| number.to_string());
            let members = number(state.members.and_then(|members| i64::try_from(members).ok()));
            let (lag, retry_lag, letters) =
                (number(state.lag), number(state.retry_lag), number(state.dead_letters));
            write!(f, "\n{:<18} {members:>7} {lag:>8} {retry_lag:>9} {letters:>12}  ", state.group)?;
            match &state.paused {
                Some(pause) => {
                    write!(f, "since {} by {}: {}", time::show(pause.since), pause.by, pause.why)?;
                }
                None if state.unknown.iter().any(|what| what.contains("whether it is paused")) => {
                    write!(f, "?")?
                }
                None => write!(f, "no")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pause() -> Pause {
        Pause { since: DateTime::UNIX_EPOCH, by: "ada".to_owned(), why: "the stock is counted".to_owned() }
    }

    #[test]
    fn a_row_shows_what_is_known_and_a_question_mark_for_the_rest() {
        let known = State {
            group: "inventory-service",
            members: Some(0),
            lag: Some(1234),
            retry_lag: Some(0),
            dead_letters: Some(5),
            paused: Some(pause()),
            unknown: Vec::new(),
        };
        let mut unknown = State { group: "sms-service", members: Some(1), ..State::default() };
        let none: Option<()> = unknown.known("whether it is paused", Err(anyhow::anyhow!("away")));
        assert_eq!(
            (none, &unknown.unknown),
            (None, &vec!["sms-service: whether it is paused: away".to_owned()])
        );
        let table = Table(&[known, unknown]).to_string();
        let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(rows[1][..5], ["inventory-service", "0", "1234", "0", "5"], "{table}");
        assert!(table.contains("since 1970-01-01T00:00:00Z by ada: the stock is counted"), "{table}");
        assert_eq!(rows[2], ["sms-service", "1", "?", "?", "?", "?"], "{table}");
    }
}
