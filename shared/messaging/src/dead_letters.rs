//! Dead letters as records: where they lie, what they say, and the way back.
//!
//! A record that a group cannot apply goes to the group's dead-letter topic. From there an operator sends it to the group's own
//! retry topic, which no other group reads. Its headers keep where the record first stood, however often it goes round.

use rdkafka::message::OwnedHeaders;

use crate::headers::{self, dead_letter, with};
use crate::producer::OutgoingRecord;
use crate::reader::{Has, ReadRecord};

/// The dead-letter topic of a group for records of `source`.
pub fn topic(source: &str, group: &str) -> String {
    format!("{source}.{group}.dlq")
}

/// The topic through which an operator gives dead letters back to a group.
pub fn retry_topic(source: &str, group: &str) -> String {
    format!("{source}{}", retry_suffix(group))
}

pub(crate) fn retry_suffix(group: &str) -> String {
    format!(".{group}.retry")
}

/// A record whose headers are not those of a dead letter.
#[derive(Debug, thiserror::Error)]
#[error("header {header} is missing or wrong")]
pub struct NotALetter {
    /// The header.
    pub header: &'static str,
}

/// A dead letter.
#[derive(Clone, Debug)]
pub struct Letter {
    /// Partition of the dead-letter topic.
    pub partition: usize,
    /// Offset in it.
    pub offset: i64,
    /// When it was written, in milliseconds since 1970.
    pub at: Option<i64>,
    /// Topic on which the record first stood.
    pub source_topic: String,
    /// Partition there.
    pub source_partition: i32,
    /// Offset there.
    pub source_offset: i64,
    /// Key, as it was; empty if there was none.
    pub key: Vec<u8>,
    /// The group that gave up.
    pub handler: String,
    /// Why.
    pub reason: String,
    /// How often the handler was asked.
    pub attempts: u32,
    /// How often it was sent back before.
    pub replays: u32,
    /// Whether its key is held: no later record of the key may be applied before it.
    pub held: bool,
    /// W3C trace context of the record.
    pub traceparent: Option<String>,
    /// Value, as it was; empty if there was none.
    pub payload: Vec<u8>,
    /// What the record had.
    pub has: Has,
    /// All headers.
    pub headers: OwnedHeaders,
}

impl Letter {
    /// Reads a record of a dead-letter topic.
    pub fn read(record: &ReadRecord) -> Result<Self, NotALetter> {
        let headers = record.headers.clone().unwrap_or_default();
        let text = |header: &'static str| headers::text(&headers, header).ok_or(NotALetter { header });
        let letter = Self {
            partition: record.partition,
            offset: record.offset,
            at: record.timestamp_ms,
            source_topic: text(dead_letter::SOURCE_TOPIC)?.to_owned(),
            source_partition: number(dead_letter::SOURCE_PARTITION, text(dead_letter::SOURCE_PARTITION)?)?,
            source_offset: number(dead_letter::SOURCE_OFFSET, text(dead_letter::SOURCE_OFFSET)?)?,
            key: record.key.clone(),
            handler: text(dead_letter::HANDLER)?.to_owned(),
            reason: text(dead_letter::REASON)?.to_owned(),
            attempts: number(dead_letter::ATTEMPTS, text(dead_letter::ATTEMPTS)?)?,
            replays: number(dead_letter::REPLAYS, text(dead_letter::REPLAYS).unwrap_or("0"))?,
            held: text(dead_letter::HELD).is_ok_and(|held| held == "true"),
            traceparent: text(headers::TRACEPARENT).ok().map(str::to_owned),
            payload: record.payload.clone(),
            has: record.has,
            headers: OwnedHeaders::new(),
        };
        Ok(Self { headers, ..letter })
    }

    /// The record that gives the letter back to its group, and to no other. `beyond_horizon`: it may be applied though the
    /// group's inbox no longer knows whether it was.
    pub fn replay(&self, beyond_horizon: bool) -> OutgoingRecord {
        let story = [
            (dead_letter::SOURCE_TOPIC, self.source_topic.clone()),
            (dead_letter::SOURCE_PARTITION, self.source_partition.to_string()),
            (dead_letter::SOURCE_OFFSET, self.source_offset.to_string()),
            (dead_letter::REPLAYS, self.replays.saturating_add(1).to_string()),
            (dead_letter::LETTER, format!("{}/{}", self.partition, self.offset)),
        ];
        let mut headers = headers::without_story(Some(&self.headers));
        for (name, value) in story {
            headers = with(headers, name, &value);
        }
        if beyond_horizon {
            headers = with(headers, dead_letter::BEYOND_HORIZON, "true");
        }
        OutgoingRecord {
            topic: retry_topic(&self.source_topic, &self.handler),
            key: self.has.key.then(|| self.key.clone()),
            payload: self.has.payload.then(|| self.payload.clone()),
            headers,
        }
    }
}

/// Which letter a record of a retry topic replays: partition and offset in the dead-letter topic.
pub fn replayed(record: &ReadRecord) -> Option<(usize, i64)> {
    let (partition, offset) =
        headers::text(record.headers.as_ref()?, dead_letter::LETTER)?.split_once('/')?;
    Some((partition.parse().ok()?, offset.parse().ok()?))
}

fn number<T: std::str::FromStr>(header: &'static str, text: &str) -> Result<T, NotALetter> {
    text.parse().map_err(|_| NotALetter { header })
}
