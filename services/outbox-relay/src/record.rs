//! From a row of the outbox to a Kafka record.

use chrono::SecondsFormat;
use messaging::{BorrowedRecord, headers};
use persistence::outbox::Row;
use telemetry::span::{Call, SpanKind, attribute, names};
use uuid::Uuid;

/// What the relay calls itself towards Kafka.
pub(crate) const CLIENT_ID: &str = "outbox-relay";

/// The record of a row whose key reads `key`: the payload as it stands, keyed by the aggregate, with CloudEvents attributes as headers
/// (CloudEvents 1.0.2, Kafka protocol binding, binary mode) and the trace context of its sending; where that is not recorded, of the change.
pub(crate) fn record<'a>(row: &'a Row, key: &'a str, sending: &Call) -> BorrowedRecord<'a> {
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
    match (sending.traceparent(), &row.traceparent) {
        (Some(sending), _) => record.header(headers::TRACEPARENT, &sending),
        (None, Some(change)) => record.header(headers::TRACEPARENT, change),
        (None, None) => record,
    }
}

/// The span of sending a row, as part of the trace in which it was written (OpenTelemetry's conventions for messaging). Nothing if that is not
/// sampled.
pub(crate) fn sending(row: &Row, key: &str) -> Call {
    let Some(traceparent) = &row.traceparent else { return Call::default() };
    let name = || format!("send {}", row.topic).into();
    Call::child_of(traceparent, name, SpanKind::Producer, || {
        vec![
            attribute(names::MESSAGING_SYSTEM, "kafka"),
            attribute(names::MESSAGING_OPERATION_NAME, "send"),
            attribute(names::MESSAGING_OPERATION_TYPE, "send"),
            attribute(names::MESSAGING_DESTINATION_NAME, row.topic.clone()),
            attribute(names::MESSAGING_KAFKA_MESSAGE_KEY, key.to_owned()),
            attribute(names::MESSAGING_MESSAGE_ID, row.event_id.to_string()),
            attribute(
                names::MESSAGING_MESSAGE_BODY_SIZE,
                i64::try_from(row.payload.len()).unwrap_or(i64::MAX),
            ),
            attribute(names::MESSAGING_CLIENT_ID, CLIENT_ID),
        ]
    })
}
