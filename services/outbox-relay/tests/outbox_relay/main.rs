//! The relay on a real Postgres and a real Kafka.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod fixture;

use std::collections::HashMap;

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
async fn events_of_a_key_arrive_in_order_although_two_relays_run_and_each_is_killed_once() {
    let fixture = Fixture::new().await;
    let keys: Vec<Uuid> = (0..100).map(|_| Uuid::now_v7()).collect();
    let mut first = fixture.relay();
    let mut second = fixture.relay();
    for sequence in 1..=10 {
        for key in &keys {
            fixture.insert(*key, sequence, "{}").await;
        }
        // Killed without giving the lease back, whatever it is doing.
        if sequence == 3 {
            first.kill();
            first = fixture.relay();
        }
        if sequence == 7 {
            second.kill();
            second = fixture.relay();
        }
    }
    fixture.until_empty().await;
    first.stop().await;
    second.stop().await;

    let mut next: HashMap<String, i64> = HashMap::new();
    for record in fixture.read_all().await {
        let sequence: i64 = record.headers["ce_sequence"].parse().unwrap();
        let expected = next.entry(record.key).or_insert(1);
        // Whatever is not the next one is a repeat of an earlier one.
        assert!(sequence <= *expected, "sequence {sequence} came before {expected}");
        *expected += i64::from(sequence == *expected);
    }
    assert_eq!(next.len(), keys.len());
    assert!(next.values().all(|next| *next == 11), "every event of every key arrived");
}

#[tokio::test]
async fn a_row_that_commits_after_rows_with_higher_ids_is_published_too() {
    let fixture = Fixture::new().await;
    let mut slow = fixture.pool.begin().await.unwrap();
    let late = Uuid::now_v7();
    fixture.insert_in(&mut slow, late, 1, "{}").await;
    for _ in 0..100 {
        fixture.insert(Uuid::now_v7(), 1, "{}").await;
    }
    let relay = fixture.relay();
    assert!(fixture.read(100).await.iter().all(|record| record.key != late.to_string()));
    slow.commit().await.unwrap();
    fixture.until_empty().await;
    relay.stop().await;
    assert!(fixture.read_all().await.iter().any(|record| record.key == late.to_string()));
}

#[tokio::test]
async fn an_event_that_kafka_refuses_blocks_its_own_key_and_no_other() {
    let fixture = Fixture::new().await;
    let (refused, fine) = (Uuid::now_v7(), Uuid::now_v7());
    let too_large = format!("\"{}\"", "x".repeat(2_000_000));
    fixture.insert(refused, 1, &too_large).await;
    fixture.insert(refused, 2, "{}").await;
    fixture.insert(fine, 1, "{}").await;
    let relay = fixture.relay();
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
    let trouble = relay.until_in_trouble().await;
    assert!(trouble.contains("not set up"), "{trouble}");
    assert_eq!(fixture.waiting().await, 1);
    assert_eq!(fixture.blocked().await, 0, "the row is not to blame");

    fixture.create_topic().await;
    fixture.until_empty().await;
    assert_eq!(fixture.read(1).await[0].key, key.to_string());
    relay.stop().await;
}

#[tokio::test]
async fn a_relay_that_stops_gives_its_lease_back_at_once() {
    let fixture = Fixture::new().await;
    let first = fixture.relay();
    first.until_leader().await;
    let second = fixture.relay();
    first.stop().await;
    assert_eq!(fixture.leases_held().await, 0, "free before anybody waits for it to run out");
    second.until_leader().await;
    second.stop().await;
}
