//! Several relays share the buckets and hand them over.

use std::time::Duration;

use persistence::outbox::BUCKETS;
use uuid::Uuid;

use crate::fixture::{Fixture, LEASE, Running};

/// Two relays with half of the buckets each, and what they were started on.
async fn two_relays() -> (Fixture, Running, Running) {
    let fixture = Fixture::new().await;
    let first = fixture.relay();
    first.until_it_holds(BUCKETS).await;
    let second = fixture.relay();
    first.until_it_holds(BUCKETS / 2).await;
    second.until_it_holds(BUCKETS / 2).await;
    // Whatever connects late is connected.
    fixture.insert_for_all(&keys(), 1).await;
    fixture.until_empty().await;
    (fixture, first, second)
}

/// Enough to have some in every bucket.
fn keys() -> Vec<Uuid> {
    (0..300).map(|_| Uuid::now_v7()).collect()
}

#[tokio::test]
async fn relays_share_the_buckets_fairly_and_a_new_one_gets_its_part_while_rows_are_published() {
    let (fixture, first, second) = two_relays().await;
    let keys = keys();
    fixture.insert_for_all(&keys, 1).await;
    let third = fixture.relay();
    for sequence in 2..=10 {
        fixture.insert_for_all(&keys, sequence).await;
    }
    // A share is rounded up, so that three relays cover all buckets.
    first.until_it_holds(22).await;
    fixture.until_empty().await;
    for (relay, least) in [(&second, 20), (&third, 20)] {
        assert!((least..=22).contains(&relay.status.buckets()), "{}", relay.status.buckets());
    }
    for relay in [first, second, third] {
        relay.stop().await;
    }
    let all = fixture.read_all().await;
    let mine: Vec<_> =
        all.iter().filter(|record| keys.iter().any(|key| key.to_string() == record.key)).collect();
    assert_eq!(mine.len(), 3000, "a hand-over in good order repeats nothing");
}

#[tokio::test]
async fn within_a_second_of_a_clean_stop_another_relay_publishes_what_waits() {
    let (fixture, first, second) = two_relays().await;
    first.stop().await;
    fixture.insert_for_all(&keys(), 1).await;
    fixture.until_empty_within(Duration::from_secs(1)).await;
    second.until_it_holds(BUCKETS).await;
    second.stop().await;
}

#[tokio::test]
async fn within_the_lease_and_a_second_of_a_kill_another_relay_publishes_what_waits() {
    let (fixture, first, second) = two_relays().await;
    first.kill();
    fixture.insert_for_all(&keys(), 1).await;
    fixture.until_empty_within(LEASE + Duration::from_secs(1)).await;
    second.until_it_holds(BUCKETS).await;
    second.stop().await;
}
