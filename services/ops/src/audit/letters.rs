//! The dead letters of a group, and which of them went back.

use std::collections::HashSet;

use anyhow::Context;
use chrono::{DateTime, Utc};
use messaging::KafkaSettings;
use messaging::dead_letters;
use messaging::headers::{self, dead_letter};
use messaging::reader::{ReadRecord, TopicReader};

use super::PATIENCE;
use super::compare::Orders;
use super::topic::{Group, starts};
use crate::replays::Replays;

pub(super) struct Letters {
    letters: TopicReader,
    pub(super) retries: TopicReader,
}

impl Letters {
    pub(super) async fn connect(kafka: &KafkaSettings, topic: &str, group: &str) -> anyhow::Result<Self> {
        let (letters, retries) = (dead_letters::topic(topic, group), dead_letters::retry_topic(topic, group));
        Ok(Self {
            letters: TopicReader::connect(kafka, &letters, PATIENCE).await?,
            retries: TopicReader::connect(kafka, &retries, PATIENCE).await?,
        })
    }

    /// Orders with a letter that waits for an operator, or for the group after an operator has sent it back. What the group had read again
    /// before the effects were read has had its effect, or a new letter. Once the retry topic has forgotten the replay, the letter counts as
    /// waiting again.
    pub(super) async fn waiting(
        &self,
        group: &Group,
        orders: &Orders,
        since: Option<DateTime<Utc>>,
    ) -> anyhow::Result<HashSet<usize>> {
        let mut settled = Replays::default();
        each(&self.retries, since, |record| {
            if group.has_passed_retry(record) {
                settled.note(record, |_, _| true);
            }
        })
        .await
        .with_context(|| format!("the retry topic of {}", group.name))?;
        let mut waiting = HashSet::new();
        each(&self.letters, since, |record| {
            if !settled.has(record) {
                waiting.extend(order_of(record, orders));
            }
        })
        .await
        .with_context(|| format!("the dead letters of {}", group.name))?;
        Ok(waiting)
    }
}

async fn each(
    reader: &TopicReader,
    since: Option<DateTime<Utc>>,
    mut seen: impl FnMut(&ReadRecord),
) -> anyhow::Result<()> {
    let watermarks = reader.watermarks().await?;
    let from = starts(reader, since, &watermarks).await?;
    let to: Vec<i64> = watermarks.iter().map(|(_, high)| *high).collect();
    let mut records = reader.read(&from, &to);
    while let Some(batch) = records.recv().await {
        batch?.iter().for_each(&mut seen);
    }
    Ok(())
}

/// Which order a dead letter is about.
fn order_of(letter: &ReadRecord, orders: &Orders) -> Option<usize> {
    let headers = letter.headers.as_ref();
    let key = headers.and_then(|headers| headers::text(headers, dead_letter::KEY));
    let key = key.or_else(|| std::str::from_utf8(&letter.key).ok())?;
    orders.position(key.parse().ok()?)
}
