//! Several relays share the buckets and hand them over.

use std::cell::Cell;
use std::time::Duration;

use persistence::outbox::BUCKETS;
use testkit::eventually;
use uuid::Uuid;

use crate::fixture::{Fixture, LEASE, Running};

/// Two relays with half of the buckets each, and what they were started on.
async fn two_relays(relay: fn(&Fixture) -> Running) -> (Fixture, Running, Running) {
    let fixture = Fixture::new().await;
    let first = relay(&fixture);
    first.until_it_holds(BUCKETS).await;
    let second = relay(&fixture);
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
    let (fixture, first, second) = two_relays(Fixture::patient_relay).await;
    let (keys, shared) = (keys(), Cell::new(false));
    let third = fixture.patient_relay();
    let sharing = async {
        // A share is rounded up, so that three relays cover all buckets.
        eventually("the three hold fair shares", async || {
            let held = [&first, &second, &third].map(|relay| relay.status.buckets());
            let fair = held.iter().all(|held| (20..=22).contains(held));
            if fair && held.iter().sum::<usize>() == BUCKETS { Ok(()) } else { Err(format!("{held:?}")) }
        })
        .await;
        shared.set(true);
    };
    let writing = async {
        let mut rounds = 0;
        while rounds < 10 || !shared.get() {
            rounds += 1;
            fixture.insert_for_all(&keys, rounds).await;
        }
        usize::try_from(rounds).unwrap()
    };
    let ((), rounds) = tokio::join!(sharing, writing);
    fixture.until_empty().await;
    for relay in [first, second, third] {
        relay.stop().await;
    }
    let all = fixture.read_all().await;
    let mine: Vec<_> =
        all.iter().filter(|record| keys.iter().any(|key| key.to_string() == record.key)).collect();
    assert_eq!(mine.len(), keys.len() * rounds, "a hand-over in good order repeats nothing");
}

#[tokio::test]
async fn within_a_second_of_a_clean_stop_another_relay_publishes_what_waits() {
    let (fixture, first, second) = two_relays(Fixture::relay).await;
    first.stop().await;
    fixture.insert_for_all(&keys(), 1).await;
    fixture.until_empty_within(Duration::from_secs(1)).await;
    second.until_it_holds(BUCKETS).await;
    second.stop().await;
}

#[tokio::test]
async fn within_the_lease_and_a_second_of_a_kill_another_relay_publishes_what_waits() {
    let (fixture, first, second) = two_relays(Fixture::relay).await;
    first.kill();
    fixture.insert_for_all(&keys(), 1).await;
    fixture.until_empty_within(LEASE + Duration::from_secs(1)).await;
    second.until_it_holds(BUCKETS).await;
    second.stop().await;
}
