//! Order per key, ten events each, whatever happens to relays and broker.

use outbox_relay::Point;
use testkit::{Kind, Servers};
use uuid::Uuid;

use crate::fixture::{Fixture, Hold};

const EVENTS: i64 = 10;

fn keys() -> Vec<Uuid> {
    (0..100).map(|_| Uuid::now_v7()).collect()
}

/// A relay stands still at `point`, past its lease, and wakes up or dies there. Another one does all the work meanwhile.
async fn held_at(point: Point, wakes_up: bool) {
    let fixture = Fixture::new().await;
    let (keys, hold) = (keys(), Hold::at(point));
    for sequence in 1..=EVENTS / 2 {
        fixture.insert_for_all(&keys, sequence).await;
    }
    let first = fixture.relay_held(&hold);
    hold.until_reached().await;
    let second = fixture.relay();
    for sequence in EVENTS / 2 + 1..=EVENTS {
        fixture.insert_for_all(&keys, sequence).await;
    }
    if !wakes_up {
        first.kill();
    }
    fixture.until_empty().await;
    if wakes_up {
        hold.let_go();
        // It notices, takes its part again, and is of use.
        first.until_it_holds(32).await;
        fixture.insert_for_all(&keys, EVENTS + 1).await;
        fixture.until_empty().await;
        first.stop().await;
    }
    second.stop().await;
    fixture.every_key_is_in_order_up_to(&keys, EVENTS + i64::from(wakes_up)).await;
}

#[tokio::test]
async fn order_holds_when_a_relay_dies_with_rows_claimed() {
    held_at(Point::Claimed, false).await;
}

#[tokio::test]
async fn order_holds_when_a_relay_dies_with_rows_enqueued() {
    held_at(Point::Enqueued, false).await;
}

#[tokio::test]
async fn order_holds_when_a_relay_dies_with_rows_acknowledged_and_not_settled() {
    held_at(Point::Acknowledged, false).await;
}

#[tokio::test]
async fn order_holds_when_a_relay_wakes_up_past_its_lease_with_rows_claimed() {
    held_at(Point::Claimed, true).await;
}

#[tokio::test]
async fn order_holds_when_a_relay_wakes_up_past_its_lease_with_rows_enqueued() {
    held_at(Point::Enqueued, true).await;
}

#[tokio::test]
async fn order_holds_when_a_relay_wakes_up_past_its_lease_with_rows_acknowledged_and_not_settled() {
    held_at(Point::Acknowledged, true).await;
}

#[tokio::test]
async fn order_holds_when_relays_are_killed_and_started_while_events_are_committed() {
    let fixture = Fixture::new().await;
    let keys = keys();
    let mut relays = [fixture.relay(), fixture.relay()];
    for sequence in 1..=EVENTS {
        fixture.insert_for_all(&keys, sequence).await;
        if sequence % 3 == 0 {
            let victim = &mut relays[usize::from(sequence % 2 == 0)];
            victim.kill();
            *victim = fixture.relay();
        }
    }
    fixture.until_empty().await;
    for relay in relays {
        relay.stop().await;
    }
    fixture.every_key_is_in_order_up_to(&keys, EVENTS).await;
}

#[tokio::test]
async fn order_holds_and_no_row_is_blamed_when_the_broker_is_killed_and_comes_back() {
    let servers = Servers::private(&[Kind::Postgres, Kind::Kafka]).await;
    let fixture = Fixture::on(&servers).await;
    fixture.create_topic().await;
    let keys = keys();
    let relays = [fixture.relay(), fixture.relay()];
    for sequence in 1..=EVENTS {
        fixture.insert_for_all(&keys, sequence).await;
        if sequence == 3 {
            servers.kill(Kind::Kafka).await;
        }
        if sequence == 6 {
            relays[0].until_its_trouble_is("").await;
            servers.start_again(Kind::Kafka).await;
        }
    }
    fixture.until_empty().await;
    assert_eq!(fixture.blocked().await, 0, "a broker that is away is not the fault of a row");
    for relay in relays {
        relay.stop().await;
    }
    fixture.every_key_is_in_order_up_to(&keys, EVENTS).await;
}

#[tokio::test]
async fn a_hot_key_does_not_keep_other_keys_of_its_bucket_waiting() {
    let fixture = Fixture::new().await;
    let hot = Uuid::now_v7();
    let rows = 3000;
    sqlx::query(
        "INSERT INTO outbox (topic, aggregate_id, sequence, event_id, event_type, source, payload)
         SELECT $1, $2, n, gen_random_uuid(), 'ThingHappened', '/tests', '{}' FROM generate_series(1, $3) AS n",
    )
    .bind(fixture.topic())
    .bind(hot)
    .bind(rows)
    .execute(&fixture.pool)
    .await
    .unwrap();
    let others: Vec<Uuid> = (0..300).map(|_| Uuid::now_v7()).collect();
    fixture.insert_for_all(&others, 1).await;
    let relay = fixture.patient_relay();
    // Rows of the hot key go one after the other; most of them still wait when the last of the others is through.
    let waiting = "SELECT count(*) FILTER (WHERE aggregate_id <> $1), count(*) FILTER (WHERE aggregate_id = $1) FROM outbox";
    let behind: i64 = testkit::eventually("the other keys are published", async || {
        match sqlx::query_as(waiting).bind(hot).fetch_one(&fixture.pool).await.unwrap() {
            (0i64, behind) => Ok(behind),
            (others, _) => Err(format!("{others} wait")),
        }
    })
    .await;
    assert!(behind > 1000, "{behind} of the hot key are left");
    fixture.until_empty().await;
    relay.stop().await;
    let keys: Vec<Uuid> = others.into_iter().chain([hot]).collect();
    let seen = fixture.read_all().await;
    assert_eq!(seen.len(), keys.len() - 1 + usize::try_from(rows).unwrap());
    let hot_seen = seen.iter().filter(|record| record.key == hot.to_string());
    assert!(
        hot_seen.map(|record| record.headers["ce_sequence"].parse::<i64>().unwrap()).eq(1..=i64::from(rows))
    );
}
