//! Records that will not be applied, kept with the reason.

use super::job::Record;
use crate::headers::{dead_letter, with};
use crate::producer::OutgoingRecord;

/// The dead-letter topic of a group for records of `topic`.
pub(super) fn topic(topic: &str, group: &str) -> String {
    format!("{topic}.{group}.dlq")
}

/// The dead letter of `record`: key, value and headers as they were, and what happened beside them.
pub(super) fn letter(record: &Record, group: &str, reason: &str, attempts: u32) -> OutgoingRecord {
    let key = String::from_utf8_lossy(&record.key).into_owned();
    let original = record.headers.clone().unwrap_or_default();
    let headers = [
        (dead_letter::SOURCE_TOPIC, record.topic.as_ref()),
        (dead_letter::SOURCE_PARTITION, &record.partition.to_string()),
        (dead_letter::SOURCE_OFFSET, &record.offset.to_string()),
        (dead_letter::KEY, &key),
        (dead_letter::HANDLER, group),
        (dead_letter::REASON, reason),
        (dead_letter::ATTEMPTS, &attempts.to_string()),
    ]
    .into_iter()
    .fold(original, |headers, (name, value)| with(headers, name, value));
    OutgoingRecord { topic: topic(&record.topic, group), key, payload: record.payload.clone(), headers }
}
