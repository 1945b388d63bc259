//! Records on the topic that nobody of ours wrote.

use contracts::topics::ORDER_EVENTS;
use messaging::headers::dead_letter::{REASON, SOURCE_TOPIC};
use rdkafka::message::{Message, OwnedMessage};
use testkit::eventually;
use uuid::Uuid;

use crate::system::system;
use crate::topics::{self, GROUPS};

#[tokio::test]
async fn a_record_that_is_no_event_of_ours_ends_in_every_groups_dead_letters_and_later_orders_take_effect() {
    let system = system().await;
    let brokers = system.kafka_brokers();
    // The key decides the partition: orders of the same partition have to get past the record, so one goes to each.
    let records: Vec<Vec<u8>> =
        (0..24).map(|n| format!("no event of ours {n} {}", Uuid::new_v4()).into()).collect();
    for (n, record) in records.iter().enumerate() {
        topics::send_foreign_record(brokers, &format!("stranger-{n}"), record).await;
    }
    let orders = system.shop.accepted_orders(60).await;

    for group in GROUPS {
        // At least once, as all that is published: what counts is that each has its letter.
        let found = eventually(&format!("the dead letters of {group}"), async || {
            let letters = topics::dead_letters(brokers, group).await;
            let letter_of = |record: &Vec<u8>| {
                let same = |letter: &&OwnedMessage| letter.payload() == Some(record);
                letters.iter().find(same).cloned()
            };
            let found: Vec<OwnedMessage> = records.iter().filter_map(letter_of).collect();
            if found.len() == records.len() { Ok(found) } else { Err(format!("{} found", found.len())) }
        })
        .await;
        for letter in &found {
            let reason = topics::header(letter, REASON).expect("a reason");
            assert!(reason.contains("not an event envelope"), "{reason}");
            assert_eq!(topics::header(letter, SOURCE_TOPIC).as_deref(), Some(ORDER_EVENTS));
        }
    }
    system.every_order_took_effect_once().await;
    system.were_accepted_and_applied(&orders).await;
}
