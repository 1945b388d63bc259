//! Dead letters that come back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use messaging::consumer::{Answer, Delivery};

use crate::fixture::{Fixture, dead_letters, payload};

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
