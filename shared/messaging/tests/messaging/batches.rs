//! Many records in one call of the handler.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use messaging::consumer::Answer;

use crate::fixture::{Fixture, dead_letters};

fn keyed(events: impl Iterator<Item = u32>, keys: u32) -> Vec<(String, String)> {
    events.map(|n| ((n % keys).to_string(), format!("{} {}", n % keys, n / keys))).collect()
}

#[tokio::test]
async fn batches_take_what_is_there_and_keep_the_order_of_each_key() {
    let fixture = Fixture::new("batches", 2).await;
    for partition in 0..2 {
        fixture.produce_keyed(partition, &keyed(0..1000, 10 + partition as u32)).await;
    }
    let (calls, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (count, largest) = (calls.clone(), most.clone());
    let running = fixture.consume_batches(move |batch| {
        count.fetch_add(1, Ordering::Relaxed);
        largest.fetch_max(batch.len(), Ordering::Relaxed);
        Answer::Ok
    });
    running.until_handled(2000).await;
    running.stop().await;
    assert_eq!((fixture.committed(0), fixture.committed(1)), (1000, 1000));
    assert!(most.load(Ordering::Relaxed) <= 500, "the limit of a batch");
    assert!(calls.load(Ordering::Relaxed) < 500, "{} calls for 2000 records", calls.load(Ordering::Relaxed));
}

#[tokio::test]
async fn a_batch_that_fails_is_split_until_the_bad_record_stands_alone() {
    let fixture = Fixture::new("split", 1).await;
    let mut records = keyed(0..300, 20);
    // In the middle of key 7, with records before and after it.
    records.insert(150, ("7".to_owned(), "poison".to_owned()));
    records.insert(170, ("7".to_owned(), "garbage".to_owned()));
    fixture.produce_keyed(0, &records).await;
    let running = fixture.consume_batches(|batch| {
        if batch.contains(&"poison") { Answer::Poison("cannot be applied".to_owned()) } else { Answer::Ok }
    });
    running.until_handled(300).await;
    running.eventually("both dead letters are written", |status| status.dead_letters() == 2).await;
    running.stop().await;

    let mut seen: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    for event in fixture.handled() {
        let (key, number) = event.split_once(' ').unwrap();
        seen.entry(key.to_owned()).or_default().push(number.parse().unwrap());
    }
    assert!(seen.values().all(|numbers| *numbers == (0..15).collect::<Vec<_>>()), "{seen:?}");
    let letters = dead_letters(&fixture).await;
    let reasons: Vec<&str> = letters.iter().map(|letter| letter.reason.as_str()).collect();
    assert_eq!(reasons, ["cannot be applied", "not an event"]);
    assert_eq!(fixture.committed(0), 302);
}

#[tokio::test]
async fn a_record_of_a_batch_that_fails_for_a_while_is_tried_again_alone_before_those_behind_it() {
    let fixture = Fixture::new("again", 1).await;
    let records = [("a", "a1"), ("a", "a2"), ("b", "b1"), ("a", "a3"), ("b", "b2")];
    fixture.produce_keyed(0, &records).await;
    let left = Arc::new(AtomicUsize::new(2));
    let running = fixture.consume_batches(move |batch| match batch {
        ["a2"] if left.load(Ordering::Relaxed) == 0 => Answer::Ok,
        ["a2"] => {
            left.fetch_sub(1, Ordering::Relaxed);
            Answer::Retry("not now".to_owned())
        }
        batch if left.load(Ordering::Relaxed) > 0 && batch.contains(&"a2") => {
            Answer::Retry("not now".to_owned())
        }
        _ => Answer::Ok,
    });
    running.until_handled(5).await;
    running.stop().await;
    let handled = fixture.handled();
    let of = |key: char| handled.iter().filter(|event| event.starts_with(key)).cloned().collect::<Vec<_>>();
    assert_eq!(
        (of('a'), of('b')),
        (["a1", "a2", "a3"].map(String::from).into(), ["b1", "b2"].map(String::from).into())
    );
    assert!(dead_letters(&fixture).await.is_empty());
    assert_eq!(fixture.committed(0), 5);
}

#[tokio::test]
async fn a_batch_waits_as_a_whole_while_its_dependency_is_away_and_is_not_split() {
    let fixture = Fixture::new("whole", 1).await;
    fixture.produce_keyed(0, &keyed(0..100, 10)).await;
    let calls = Arc::new(AtomicUsize::new(0));
    let count = calls.clone();
    let running = fixture.consume_batches(move |_| match count.fetch_add(1, Ordering::Relaxed) {
        0..6 => Answer::Unavailable("the database is away".to_owned()),
        _ => Answer::Ok,
    });
    running.until_handled(100).await;
    running.stop().await;
    assert!(calls.load(Ordering::Relaxed) < 40, "{} calls", calls.load(Ordering::Relaxed));
    assert!(dead_letters(&fixture).await.is_empty());
    assert_eq!(fixture.committed(0), 100);
}
