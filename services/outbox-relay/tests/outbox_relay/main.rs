//! The relay on a real Postgres and a real Kafka.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod fixture;
mod late;
mod order;
mod processes;
mod released;
mod sharing;

use fixture::{Fixture, TRACEPARENT};
use uuid::Uuid;

#[tokio::test]
async fn a_row_becomes_a_record_with_key_payload_headers_and_trace_and_leaves_the_outbox() {
    let fixture = Fixture::new().await;
    let aggregate = Uuid::now_v7();
    let event = fixture.insert(aggregate, 1, r#"{"a": 1,  "b":"ü"}"#).await;
    let relay = fixture.relay();
    let record = fixture.read(1).await.remove(0);
    fixture.until_empty().await;
    relay.stop().await;

    assert_eq!(record.key, aggregate.to_string());
    assert_eq!(record.payload, r#"{"a": 1,  "b":"ü"}"#, "sent as it stands");
    for (name, value) in [
        ("ce_specversion", "1.0"),
        ("ce_id", &event.to_string()),
        ("ce_type", "ThingHappened"),
        ("ce_source", "/tests"),
        ("ce_subject", &aggregate.to_string()),
        ("ce_sequence", "1"),
        ("content-type", "application/json"),
        ("traceparent", TRACEPARENT),
    ] {
        assert_eq!(record.headers.get(name).map(String::as_str), Some(value), "{name}");
    }
    chrono::DateTime::parse_from_rfc3339(&record.headers["ce_time"]).unwrap();
}

#[tokio::test]
async fn an_event_that_kafka_refuses_blocks_its_own_key_and_no_other() {
    let fixture = Fixture::new().await;
    let (refused, fine) = (Uuid::now_v7(), Uuid::now_v7());
    let too_large = format!("\"{}\"", "x".repeat(2_000_000));
    fixture.insert(refused, 1, &too_large).await;
    fixture.insert(refused, 2, "{}").await;
    fixture.insert(fine, 1, "{}").await;
    let relay = fixture.patient_relay();
    let reason = fixture.until_blocked(refused).await;
    assert_eq!(fixture.read(1).await[0].key, fine.to_string());
    fixture.insert(fine, 2, "{}").await;
    assert_eq!(fixture.read(1).await[0].key, fine.to_string());
    relay.stop().await;

    assert!(reason.contains("MessageSizeTooLarge"), "{reason}");
    assert_eq!(fixture.waiting().await, 2, "both events of the blocked key stay, for an operator to decide");
    assert!(fixture.read_all().await.iter().all(|record| record.key == fine.to_string()));
}

#[tokio::test]
async fn a_missing_topic_stops_the_relay_with_a_clear_state_and_costs_no_row() {
    let fixture = Fixture::without_topic().await;
    let key = Uuid::now_v7();
    fixture.insert(key, 1, "{}").await;
    let relay = fixture.relay();
    // Before Kafka's client is sure that the topic is missing, the record may have timed out.
    relay.until_its_trouble_is("not set up").await;
    assert_eq!(fixture.waiting().await, 1);
    assert_eq!(fixture.blocked().await, 0, "the row is not to blame");

    fixture.create_topic().await;
    fixture.until_empty().await;
    assert_eq!(fixture.read(1).await[0].key, key.to_string());
    relay.stop().await;
}
