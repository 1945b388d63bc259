//! Relays as real processes: killed, frozen and woken.

use testkit::Process;
use uuid::Uuid;

use crate::fixture::Fixture;

const EVENTS: i64 = 12;

async fn process(fixture: &Fixture) -> Process {
    let settings =
        [("ORDERS_DATABASE_URL", fixture.database.url()), ("KAFKA_BROKERS", fixture.kafka.brokers.as_str())];
    Process::spawn("outbox-relay", &settings).await
}

#[tokio::test]
async fn order_holds_when_relays_are_frozen_past_their_lease_and_woken_and_killed() {
    let fixture = Fixture::new().await;
    let keys: Vec<Uuid> = (0..100).map(|_| Uuid::now_v7()).collect();
    let mut first = process(&fixture).await;
    let second = process(&fixture).await;
    for sequence in 1..=EVENTS {
        fixture.insert_for_all(&keys, sequence).await;
        if sequence == 3 {
            first.signal("STOP").unwrap();
        }
        if sequence == 5 {
            // The other one has taken over everything and done the work.
            fixture.until_empty().await;
            first.signal("CONT").unwrap();
        }
        if sequence == 8 {
            first.kill9();
        }
    }
    fixture.until_empty().await;
    drop(second);
    fixture.every_key_is_in_order_up_to(&keys, EVENTS).await;
}
