//! From a row of the outbox to a Kafka record.

use chrono::SecondsFormat;
use messaging::{BorrowedRecord, headers};
use persistence::outbox::Row;
use uuid::Uuid;

/// The record of a row whose key reads `key`: the payload as it stands, keyed by the aggregate, with CloudEvents attributes as headers
/// (CloudEvents 1.0.2, Kafka protocol binding, binary mode) and the trace context of the change.
pub(crate) fn record<'a>(row: &'a Row, key: &'a str) -> BorrowedRecord<'a> {
    let mut event_id = Uuid::encode_buffer();
    let record = BorrowedRecord::new(&row.topic, key.as_bytes(), row.payload.as_bytes())
        .header("ce_specversion", "1.0")
        .header("ce_id", row.event_id.hyphenated().encode_lower(&mut event_id))
        .header("ce_type", &row.event_type)
        .header("ce_source", &row.source)
        .header("ce_subject", key)
        .header("ce_time", &row.created_at.to_rfc3339_opts(SecondsFormat::Micros, true))
        .header("ce_sequence", &row.sequence.to_string())
        .header("content-type", "application/json");
    match &row.traceparent {
        Some(traceparent) => record.header(headers::TRACEPARENT, traceparent),
        None => record,
    }
}
