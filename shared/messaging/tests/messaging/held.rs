//! Keys whose order goes on beyond a dead letter.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use futures::FutureExt;
use futures::future::BoxFuture;
use messaging::consumer::{
    Answer, BatchHandler, Delivered, Delivery, Handler, HeldKeys, Place, SourceRecord,
};

use crate::fixture::{Fixture, Log, dead_letters, payload};

/// What a database would keep.
#[derive(Debug, Default)]
struct Memory {
    held: Mutex<BTreeMap<Vec<u8>, BTreeSet<i64>>>,
    away: AtomicBool,
}

impl Memory {
    fn answer<T>(&self, answer: T) -> Result<T, String> {
        if self.away.load(Ordering::SeqCst) { Err("the database is away".to_owned()) } else { Ok(answer) }
    }

    fn is_empty(&self) -> bool {
        self.held.lock().unwrap().values().all(BTreeSet::is_empty)
    }
}

impl HeldKeys for Memory {
    fn places<'a>(&'a self, records: &'a [SourceRecord]) -> BoxFuture<'a, Result<Vec<Place>, String>> {
        let held = self.held.lock().unwrap();
        let place = |record: &SourceRecord| match held.get(&record.key).and_then(BTreeSet::first) {
            None => Place::Free,
            Some(first) if *first < record.offset => Place::Behind,
            Some(_) => Place::First,
        };
        let places = records.iter().map(place).collect();
        async move { self.answer(places) }.boxed()
    }

    fn hold<'a>(&'a self, records: &'a [SourceRecord]) -> BoxFuture<'a, Result<(), String>> {
        let mut held = self.held.lock().unwrap();
        for record in records {
            held.entry(record.key.clone()).or_default().insert(record.offset);
        }
        async move { self.answer(()) }.boxed()
    }

    fn release<'a>(&'a self, records: &'a [SourceRecord]) -> BoxFuture<'a, Result<(), String>> {
        let mut held = self.held.lock().unwrap();
        for record in records {
            held.entry(record.key.clone()).or_default().remove(&record.offset);
        }
        async move { self.answer(()) }.boxed()
    }
}

/// Refuses one event until somebody mends it; writes down what it applied. One by one and in batches.
#[derive(Clone)]
struct Picky {
    log: Log,
    mended: Arc<AtomicBool>,
}

impl Picky {
    fn judge(&self, events: &[&String]) -> Answer {
        if events.iter().any(|event| *event == "a 1") && !self.mended.load(Ordering::SeqCst) {
            return Answer::Poison("cannot be applied".to_owned());
        }
        self.log.lock().unwrap().extend(events.iter().map(ToString::to_string));
        Answer::Ok
    }
}

impl Handler for Picky {
    type Event = String;

    async fn handle(&self, event: &String, _: &Delivery) -> Answer {
        self.judge(&[event])
    }
}

impl BatchHandler for Picky {
    type Event = String;

    async fn handle_batch(&self, batch: &[Delivered<String>]) -> Answer {
        self.judge(&batch.iter().map(|one| &one.event).collect::<Vec<_>>())
    }
}

/// Key a: 0 .. 5, of which 1 cannot be applied. Key b: nothing wrong.
fn records() -> Vec<(&'static str, &'static str)> {
    let a = ["a 0", "a 1", "a 2", "a 3"].map(|event| ("a", event));
    [a.as_slice(), &[("b", "b 0"), ("b", "b 1")]].concat()
}

fn of_key(handled: &[String], key: &str) -> Vec<String> {
    handled.iter().filter(|event| event.starts_with(key)).cloned().collect()
}

async fn the_order_of_a_held_key_goes_on_through_dead_letters(group: &'static str, batches: bool) {
    let fixture = Fixture::new(group, 1).await;
    let memory = Arc::new(Memory::default());
    let picky = Picky { log: fixture.log(), mended: Arc::default() };
    fixture.produce_keyed(0, &records()).await;
    let mut settings = fixture.settings();
    settings.held_keys = Some(memory.clone());
    let running = if batches {
        fixture.run_batches(settings, picky.clone())
    } else {
        fixture.run(settings, picky.clone())
    };
    running.eventually("a 1 to a 3 are letters", |status| status.dead_letters() == 3).await;
    running.until_handled(3).await;
    assert_eq!((of_key(&fixture.handled(), "a").len(), of_key(&fixture.handled(), "b").len()), (1, 2));
    let letters = dead_letters(&fixture).await;
    assert!(letters.iter().all(|letter| letter.held));
    assert_eq!(letters.iter().map(payload).collect::<Vec<_>>(), ["a 1", "a 2", "a 3"]);
    assert_eq!(letters[1].reason, "key held: an earlier record of the key is in dead letters");

    // Not mended yet, and in the worst order: all of them come back to dead letters.
    fixture.publish(letters.iter().rev().map(|letter| letter.replay(false)).collect()).await;
    running.eventually("they are letters again", |status| status.dead_letters() == 6).await;
    fixture.produce_keyed(0, &[("a", "a 4")]).await;
    running.eventually("what comes later follows", |status| status.dead_letters() == 7).await;
    assert_eq!(of_key(&fixture.handled(), "a"), ["a 0"]);

    picky.mended.store(true, Ordering::SeqCst);
    let mut again = dead_letters(&fixture).await.split_off(3);
    again.sort_by_key(|letter| letter.source_offset);
    fixture.publish(again.iter().map(|letter| letter.replay(false)).collect()).await;
    running.until_handled(7).await;
    running.eventually("nothing is in flight", |status| status.held() == 0).await;
    assert!(memory.is_empty(), "the key is free");
    fixture.produce_keyed(0, &[("a", "a 5")]).await;
    running.until_handled(8).await;
    running.stop().await;
    assert_eq!(of_key(&fixture.handled(), "a"), ["a 0", "a 1", "a 2", "a 3", "a 4", "a 5"]);
    assert_eq!(fixture.committed(0), 8);
}

#[tokio::test]
async fn records_behind_a_dead_letter_of_a_held_key_follow_it_and_come_back_in_order() {
    the_order_of_a_held_key_goes_on_through_dead_letters("held", false).await;
}

#[tokio::test]
async fn the_order_of_a_held_key_is_kept_in_batches_too() {
    the_order_of_a_held_key_goes_on_through_dead_letters("held-batches", true).await;
}

#[tokio::test]
async fn while_it_is_unknown_what_is_held_nothing_is_handled_and_nothing_is_lost() {
    let fixture = Fixture::new("unknown-held", 1).await;
    let memory = Arc::new(Memory::default());
    memory.away.store(true, Ordering::SeqCst);
    let picky = Picky { log: fixture.log(), mended: Arc::default() };
    fixture.produce_keyed(0, &records()).await;
    let mut settings = fixture.settings();
    settings.held_keys = Some(memory.clone());
    let running = fixture.run(settings, picky);
    running.eventually("it probes", |status| status.probes() >= 3).await;
    assert_eq!(running.status.flowing(), Err("waiting for a dependency: the database is away".to_owned()));
    assert!(fixture.handled().is_empty());
    memory.away.store(false, Ordering::SeqCst);
    running.until_handled(3).await;
    running.eventually("a 1 to a 3 are letters", |status| status.dead_letters() == 3).await;
    running.stop().await;
    assert_eq!(fixture.committed(0), 6);
}
