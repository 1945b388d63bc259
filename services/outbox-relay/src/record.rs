//! From a row of the outbox to a Kafka record.

use messaging::{OutgoingRecord, headers};
use persistence::outbox::Row;

/// The record of a row: the payload as it stands, keyed by the aggregate, with CloudEvents attributes as headers
/// (CloudEvents 1.0.2, Kafka protocol binding, binary mode) and the trace context of the change.
pub(crate) fn record(row: &Row) -> OutgoingRecord {
    let key = row.aggregate_id.to_string();
    let record = OutgoingRecord::new(&row.topic, key.as_str(), row.payload.as_bytes())
        .header("ce_specversion", "1.0")
        .header("ce_id", &row.event_id.to_string())
        .header("ce_type", &row.event_type)
        .header("ce_source", &row.source)
        .header("ce_subject", &key)
        .header("ce_time", &row.created_at.to_rfc3339_opts(chrono::SecondsFormat::Micros, true))
        .header("ce_sequence", &row.sequence.to_string())
        .header("content-type", "application/json");
    match &row.traceparent {
        Some(traceparent) => record.header(headers::TRACEPARENT, traceparent),
        None => record,
    }
}
