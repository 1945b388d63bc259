//! Kafka: how far the groups are, what is on the topic, and what is in the dead letters.

use std::collections::HashSet;
use std::ops::RangeInclusive;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use contracts::topics::{ANALYTICS_GROUP, EMAIL_GROUP, INVENTORY_GROUP, SMS_GROUP};
use contracts::{Envelope, decode_order_created};
use messaging::reader::{ReadRecord, TopicReader};
use messaging::{KafkaSettings, partition_of};
use serde_json::value::RawValue;
use sqlx::PgConnection;
use tokio::time::Instant;
use uuid::Uuid;

use super::PATIENCE;
use super::accepted::look_up;
use super::compare::{Event, Orders, Published, Seen, minute_of};
use super::letters::Letters;
use crate::time::CLOCKS;
use messaging::offsets::{behind, next_offsets};

/// How often we look how far the groups are.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The groups whose effects are audited.
const GROUPS: [&str; 4] = [EMAIL_GROUP, SMS_GROUP, INVENTORY_GROUP, ANALYTICS_GROUP];

/// How far a group was before its effects were read.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub(super) name: &'static str,
    /// The offset it reads next, by partition.
    next: Vec<i64>,
    /// The same on its retry topic.
    next_retry: Vec<i64>,
    /// Records it had still to read up to the ends that it was to reach.
    pub(super) records_behind: i64,
    /// Orders whose event it had not passed.
    pub(super) behind: HashSet<usize>,
    /// Orders whose event is in its dead letters, or on the way back from there.
    pub(super) dead: HashSet<usize>,
}

impl Group {
    /// Whether it was through with a record of its retry topic.
    pub(super) fn has_passed_retry(&self, record: &ReadRecord) -> bool {
        self.next_retry.get(record.partition).is_some_and(|next| record.offset < *next)
    }
}

/// An order that was accepted after the audit had begun, as its event tells.
#[derive(Debug)]
pub(super) struct Late {
    pub(super) id: Uuid,
    pub(super) minute: i64,
    pub(super) revenue_cents: i64,
}

/// What the topic tells beside the accepted events.
#[derive(Debug, Default)]
pub(super) struct Rest {
    /// First events of orders that exist and are not among those audited.
    pub(super) late: Vec<Late>,
    /// Records that are no events.
    pub(super) foreign: u64,
    /// By partition: what was accepted before this may have been removed by retention.
    horizon: Vec<Option<DateTime<Utc>>>,
}

impl Rest {
    /// Whether retention may have removed the events of an order.
    pub(super) fn out_of_sight(&self, order: Uuid, created_at: DateTime<Utc>) -> bool {
        let partition = partition_of(order.to_string().as_bytes(), self.horizon.len());
        let horizon = self.horizon.get(partition).copied().flatten();
        horizon.is_some_and(|horizon| created_at < horizon + CLOCKS)
    }
}

pub(super) struct Topic {
    reader: TopicReader,
    pub(super) name: String,
    /// The dead-letter topic of each group, and the one that gives letters back.
    letters: [Letters; 4],
    /// Where the audited orders may begin.
    since: Option<DateTime<Utc>>,
}

impl Topic {
    pub(super) async fn connect(
        kafka: &KafkaSettings,
        name: &str,
        since: Option<DateTime<Utc>>,
    ) -> anyhow::Result<Self> {
        let reader = TopicReader::connect(kafka, name, PATIENCE).await?;
        let [email, sms, inventory, analytics] = GROUPS;
        let letters = [
            Letters::connect(kafka, name, email).await?,
            Letters::connect(kafka, name, sms).await?,
            Letters::connect(kafka, name, inventory).await?,
            Letters::connect(kafka, name, analytics).await?,
        ];
        Ok(Self { reader, name: name.to_owned(), letters, since: since.map(|since| since - CLOCKS) })
    }

    /// Waits until every group has committed what is on the topic and on its retry topic now, and returns how far each is then, or
    /// at the deadline.
    pub(super) async fn wait_for_groups(&self, deadline: Instant) -> anyhow::Result<[Group; 4]> {
        let ends = self.reader.watermarks().await?;
        let mut retry_ends = Vec::with_capacity(self.letters.len());
        for letters in &self.letters {
            retry_ends.push(letters.retries.watermarks().await?);
        }
        loop {
            let mut groups = GROUPS.map(|name| Group { name, ..Group::default() });
            let mut committed = Vec::with_capacity(groups.len());
            for group in &groups {
                committed.push(self.reader.committed(group.name).await?);
            }
            // After the offsets, and not the ends, which a group may have passed: an offset beyond the end of a partition is one that
            // Kafka has lost.
            let watermarks = self.reader.watermarks().await?;
            for (((group, committed), letters), retry_ends) in
                groups.iter_mut().zip(committed).zip(&self.letters).zip(&retry_ends)
            {
                let retried = letters.retries.committed(group.name).await?;
                group.next = next_offsets(&committed, &watermarks);
                group.next_retry = next_offsets(&retried, &letters.retries.watermarks().await?);
                group.records_behind = behind(&group.next, &ends) + behind(&group.next_retry, retry_ends);
            }
            if groups.iter().all(|group| group.records_behind == 0) || Instant::now() + LOOK_EVERY > deadline
            {
                return Ok(groups);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Reads the topic to its end into `published`, and notes which orders each group has not passed. Events of nobody known are
    /// looked up in the orders database; those of other orders are kept if they were decided in `minutes`.
    pub(super) async fn read(
        &self,
        orders: &Orders,
        published: &mut Published<'_>,
        groups: &mut [Group],
        database: &mut PgConnection,
        minutes: &RangeInclusive<i64>,
    ) -> anyhow::Result<Rest> {
        let watermarks = self.reader.watermarks().await?;
        let from = starts(&self.reader, self.since, &watermarks).await?;
        let to: Vec<i64> = watermarks.iter().map(|(_, high)| *high).collect();
        let mut rest = Rest { horizon: horizons(&from, &watermarks), ..Rest::default() };
        let mut records = self.reader.read(&from, &to);
        while let Some(batch) = records.recv().await {
            let mut unknown = Vec::new();
            for record in batch? {
                rest.first_of_partition(&record, &from);
                let Some((order, event)) = event(&record) else {
                    rest.foreign += 1;
                    continue;
                };
                let position = orders.position(order);
                let seen = position.map_or(Seen::Unknown, |position| published.record(position, event));
                match (seen, position) {
                    (Seen::First, Some(position)) if event.sequence == 1 => {
                        for group in &mut *groups {
                            if group.next.get(record.partition).is_none_or(|next| record.offset >= *next) {
                                group.behind.insert(position);
                            }
                        }
                    }
                    (Seen::Unknown, _) => unknown.push((order, event, record)),
                    _ => {}
                }
            }
            let ids: Vec<Uuid> = unknown.iter().map(|(order, ..)| *order).collect();
            let known = look_up(database, &ids).await?;
            for (order, event, record) in unknown {
                match known.get(&order) {
                    Some(events) if (1..=*events).contains(&event.sequence) => {
                        if minutes.contains(&event.minute) {
                            rest.late(order, event, &record);
                        }
                    }
                    _ => published.phantom(order, event.sequence),
                }
            }
        }
        Ok(rest)
    }

    /// Reads the dead letters of each group.
    pub(super) async fn read_dead_letters(
        &self,
        orders: &Orders,
        groups: &mut [Group],
    ) -> anyhow::Result<()> {
        for (group, letters) in groups.iter_mut().zip(&self.letters) {
            group.dead = letters.waiting(group, orders, self.since).await?;
        }
        Ok(())
    }
}

impl Rest {
    /// The time of the oldest record left bounds what retention has removed from the partition.
    fn first_of_partition(&mut self, record: &ReadRecord, from: &[i64]) {
        if from.get(record.partition) == Some(&record.offset)
            && let Some(Some(horizon)) = self.horizon.get_mut(record.partition)
            && let Some(at) = record.timestamp_ms.and_then(DateTime::from_timestamp_millis)
        {
            *horizon = at;
        }
    }

    fn late(&mut self, id: Uuid, event: Event, record: &ReadRecord) {
        if event.sequence == 1
            && let Ok(Some(created)) = decode_order_created(&record.payload)
        {
            self.late.push(Late { id, minute: event.minute, revenue_cents: created.data.total.cents() });
        }
    }
}

/// Where to begin: at `since`, or with the oldest record.
pub(super) async fn starts(
    reader: &TopicReader,
    since: Option<DateTime<Utc>>,
    watermarks: &[(i64, i64)],
) -> anyhow::Result<Vec<i64>> {
    let Some(since) = since else { return Ok(watermarks.iter().map(|(low, _)| *low).collect()) };
    let found = reader.offsets_at(since.timestamp_millis()).await?;
    Ok(found.iter().zip(watermarks).map(|(offset, (low, high))| offset.unwrap_or(*high).max(*low)).collect())
}

/// Partitions that begin with the oldest record left while older ones are gone. Until that record is read, everything may be gone.
fn horizons(from: &[i64], watermarks: &[(i64, i64)]) -> Vec<Option<DateTime<Utc>>> {
    let cut = from.iter().zip(watermarks).map(|(from, (low, _))| *low > 0 && from == low);
    cut.map(|cut| cut.then(|| Utc::now() + TimeDelta::minutes(1))).collect()
}

/// The order and the event of a record; `None` if it is no event.
fn event(record: &ReadRecord) -> Option<(Uuid, Event)> {
    let envelope: Envelope<&RawValue> = serde_json::from_slice(&record.payload).ok()?;
    let minute = minute_of(envelope.occurred_at);
    Some((envelope.aggregate_id, Event { id: envelope.id, sequence: envelope.sequence, minute }))
}
