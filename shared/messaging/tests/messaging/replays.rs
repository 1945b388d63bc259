//! Dead letters that come back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use messaging::OutgoingRecord;
use messaging::consumer::{Answer, Delivery};

use crate::fixture::{Fixture, dead_letters, payload};

type Parts = (Option<Vec<u8>>, Option<Vec<u8>>);

#[tokio::test]
async fn a_key_of_bytes_no_key_an_empty_one_and_no_value_go_to_dead_letters_and_come_back_as_they_were() {
    let fixture = Fixture::new("parts", 1).await;
    let value = Some(b"bad".to_vec());
    let expected: Vec<Parts> = vec![
        (Some(vec![0xff, 0, 0xfe]), value.clone()),
        (None, value.clone()),
        (Some(Vec::new()), value),
        (Some(b"tombstone".to_vec()), None),
    ];
    let running = fixture.consume(|_, _| Answer::Poison("no".to_owned()));
    // One after the other, so that the letters come in this order.
    for (written, (key, payload)) in (1..).zip(expected.clone()) {
        let record = OutgoingRecord { key, payload, ..OutgoingRecord::new(&fixture.topic, "", "") };
        fixture.publish(vec![record]).await;
        running.eventually("its letter is written", |status| status.dead_letters() == written).await;
    }
    running.stop().await;
    let replays: Vec<Parts> = dead_letters(&fixture)
        .await
        .iter()
        .map(|letter| letter.replay(false))
        .map(|replay| (replay.key, replay.payload))
        .collect();
    assert_eq!(replays, expected);
}

#[tokio::test]
async fn a_record_that_just_fits_has_room_as_a_dead_letter_whatever_the_reason() {
    let fixture = Fixture::new("large", 1).await;
    let payload = "x".repeat(999_000);
    fixture.publish(vec![OutgoingRecord::new(&fixture.topic, "key", payload)]).await;
    let running = fixture.consume(|_, _| Answer::Poison("a long story ".repeat(10_000)));
    running.eventually("its letter is written", |status| status.dead_letters() == 1).await;
    running.stop().await;
    assert_eq!(fixture.committed(0), 1);
}

#[tokio::test]
async fn while_a_dead_letter_cannot_be_written_health_says_why() {
    let fixture = Fixture::new("refused", 1).await;
    fixture.produce(0, &["bad"]).await;
    fixture.refuse_writes();
    let running = fixture.consume(|_, _| Answer::Poison("no".to_owned()));
    running.eventually("it is said", |status| status.flowing().is_err()).await;
    let reason = running.status.flowing().unwrap_err();
    assert!(reason.starts_with("a dead letter cannot be written: refused by Kafka"), "{reason}");
    assert!(running.status.is_live(), "a restart would not help");
    fixture.accept_writes();
    running.eventually("its letter is written", |status| status.dead_letters() == 1).await;
    running.eventually("nothing waits", |status| status.flowing().is_ok()).await;
    running.stop().await;
}

#[tokio::test]
async fn a_letter_that_is_sent_back_is_handled_again_and_keeps_its_story_if_it_fails_again() {
    let fixture = Fixture::new("replay", 1).await;
    fixture.produce(0, &["good", "bad"]).await;
    let mended = Arc::new(AtomicBool::new(false));
    let is_mended = mended.clone();
    let running = fixture.consume(move |event, delivery: &Delivery| match event {
        "bad" if !is_mended.load(Ordering::SeqCst) => Answer::Poison(format!("try {}", delivery.replays)),
        "bad" if !delivery.beyond_horizon => Answer::Poison("not allowed".to_owned()),
        _ => Answer::Ok,
    });
    let written = async |count| {
        running.eventually("its letter is written", |status| status.dead_letters() == count).await;
        dead_letters(&fixture).await.pop().unwrap()
    };
    let first = written(1).await;
    assert_eq!((first.reason.as_str(), first.replays), ("try 0", 0));

    fixture.publish(vec![first.replay(false)]).await;
    let second = written(2).await;
    assert_eq!((payload(&second), second.reason.as_str(), second.replays), ("bad", "try 1", 1));
    assert_eq!(
        (second.source_topic.as_str(), second.source_partition, second.source_offset),
        (&*fixture.topic, 0, 1),
        "where it first stood, not the retry topic"
    );

    mended.store(true, Ordering::SeqCst);
    fixture.publish(vec![second.replay(true)]).await;
    running.until_handled(4).await;
    running.stop().await;
    assert_eq!(fixture.handled(), ["good", "bad", "bad", "bad"]);
    assert_eq!(dead_letters(&fixture).await.len(), 2, "the last time it was applied");
    assert_eq!(fixture.committed(0), 2);
}
