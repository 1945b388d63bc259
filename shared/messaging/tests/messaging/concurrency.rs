//! Keys side by side, offsets, backpressure.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use messaging::consumer::{Answer, Delivery, Handler};
use testkit::eventually;
use tokio::sync::{Barrier, Semaphore};

use crate::fixture::{Fixture, Log, dead_letters};

/// Opens for so many at once and not before.
struct Together {
    barrier: Barrier,
    log: Log,
}

impl Handler for Together {
    type Event = String;

    async fn handle(&self, event: &String, _: &Delivery) -> Answer {
        self.barrier.wait().await;
        self.log.lock().unwrap().push(event.clone());
        Answer::Ok
    }
}

#[tokio::test]
async fn two_hundred_keys_of_one_partition_are_in_the_handler_at_the_same_time() {
    let fixture = Fixture::new("together", 1).await;
    let events: Vec<String> = (0..200).map(|n| n.to_string()).collect();
    fixture.produce_unrelated(0, &events).await;
    let handler = Together { barrier: Barrier::new(200), log: fixture.log() };
    let running = fixture.run(fixture.settings(), handler);
    running.until_handled(200).await;
    running.stop().await;
    assert_eq!(fixture.committed(0), 200);
}

/// Waits at every record that begins with `block` until there is a permit; all others are quick.
struct Blocking {
    gate: Arc<Semaphore>,
    started: Arc<AtomicUsize>,
    log: Log,
}

impl Handler for Blocking {
    type Event = String;

    async fn handle(&self, event: &String, _: &Delivery) -> Answer {
        if event.starts_with("block") {
            self.started.fetch_add(1, Ordering::SeqCst);
            self.gate.acquire().await.unwrap().forget();
        }
        self.log.lock().unwrap().push(event.clone());
        Answer::Ok
    }
}

impl Blocking {
    fn new(fixture: &Fixture) -> (Self, Arc<Semaphore>, Arc<AtomicUsize>) {
        let (gate, started) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
        (Self { gate: gate.clone(), started: started.clone(), log: fixture.log() }, gate, started)
    }
}

#[tokio::test]
async fn the_committed_offset_never_passes_an_unfinished_record() {
    let fixture = Fixture::new("frontier", 1).await;
    let events: Vec<String> =
        (0..100).map(|n| if n == 10 { "block".to_owned() } else { n.to_string() }).collect();
    fixture.produce_unrelated(0, &events).await;
    let (handler, gate, _) = Blocking::new(&fixture);
    let running = fixture.run(fixture.settings(), handler);
    running.until_handled(99).await;
    eventually("the frontier is committed", async || match fixture.committed(0) {
        10 => Ok(()),
        other => Err(format!("committed {other}")),
    })
    .await;
    gate.add_permits(1);
    running.until_handled(100).await;
    running.stop().await;
    assert_eq!(fixture.committed(0), 100);
}

#[tokio::test]
async fn on_stopping_a_blocked_handler_is_left_behind_at_the_deadline_and_its_record_comes_again() {
    let fixture = Fixture::new("deadline", 1).await;
    fixture.produce_unrelated(0, &["1", "block", "3"]).await;
    let (handler, _gate, started) = Blocking::new(&fixture);
    let mut settings = fixture.settings();
    settings.drain = Duration::from_millis(100);
    let running = fixture.run(settings, handler);
    running.until(|handled| handled.len() == 2 && started.load(Ordering::SeqCst) == 1).await;
    running.stop().await;
    assert_eq!(fixture.committed(0), 1, "record 3 is done, but it is behind the blocked one");

    let running = fixture.consume(|_, _| Answer::Ok);
    running.until(|handled| handled.iter().any(|event| event == "block")).await;
    running.stop().await;
    assert_eq!(fixture.committed(0), 3);
}

#[tokio::test]
async fn a_member_that_takes_a_partition_over_gets_the_records_that_blocked_the_one_before() {
    let fixture = Fixture::new("revoked", 2).await;
    for partition in 0..2 {
        fixture.produce_unrelated(partition, &["a", "block", "c"]).await;
    }
    let (handler, gate, started) = Blocking::new(&fixture);
    let mut settings = fixture.settings();
    settings.drain = Duration::from_millis(100);
    let first = fixture.run(settings, handler);
    first.until(|handled| handled.len() == 4 && started.load(Ordering::SeqCst) == 2).await;

    let second = fixture.consume(|_, _| Answer::Ok);
    second.until(|handled| handled.iter().any(|event| event == "block")).await;
    // What the first still has may end now; its report about the partition that is gone counts for nothing. Both run on: while a group
    // forms anew the mock cluster refuses commits, which are then repeated.
    gate.add_permits(2);
    eventually("each commits its partition", async || match (fixture.committed(0), fixture.committed(1)) {
        (3, 3) => Ok(()),
        other => Err(format!("{other:?}, handled {:?}, {:?}", fixture.handled(), second.status)),
    })
    .await;
    assert_eq!(
        fixture.handled().iter().filter(|event| *event == "block").count(),
        2,
        "once for each partition"
    );
    first.stop().await;
    second.stop().await;
}

#[tokio::test]
async fn records_of_a_key_keep_their_order_while_keys_run_side_by_side() {
    let fixture = Fixture::new("keys", 2).await;
    for partition in 0..2 {
        let records: Vec<(String, String)> = (0..600)
            .map(|n| (format!("{partition}/{}", n % 30), format!("{partition}/{} {}", n % 30, n / 30)))
            .collect();
        fixture.produce_keyed(partition, &records).await;
    }
    let running = fixture.consume_at(Duration::from_millis(1), |_, _| Answer::Ok);
    running.until_handled(1200).await;
    running.stop().await;

    let mut seen: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    let handled = fixture.handled();
    for event in &handled {
        let (key, number) = event.split_once(' ').unwrap();
        seen.entry(key.to_owned()).or_default().push(number.parse().unwrap());
    }
    assert_eq!(seen.len(), 60);
    assert!(seen.values().all(|numbers| *numbers == (0..20).collect::<Vec<_>>()), "{seen:?}");
    // Keys that ran one after another would change 59 times.
    let key = |event: &str| event.split_once(' ').unwrap().0.to_owned();
    let changes = handled.windows(2).filter(|pair| key(&pair[0]) != key(&pair[1])).count();
    assert!(changes > 59, "keys ran one after another: {handled:?}");
}

#[tokio::test]
async fn a_record_in_backoff_holds_up_its_own_key_only() {
    let fixture = Fixture::new("backoff", 1).await;
    let records = [("bad", "bad"), ("bad", "behind it"), ("good", "1"), ("good", "2"), ("", "3")];
    fixture.produce_keyed(0, &records).await;
    let mut settings = fixture.settings();
    settings.retry.retry_base = Duration::from_secs(3600);
    settings.retry.retry_cap = Duration::from_secs(3600);
    settings.in_flight = 1;
    let log = fixture.log();
    let running = fixture.run(
        settings,
        Deciding {
            log,
            decide: |event| match event {
                "bad" => Answer::Retry("the provider answered 503".to_owned()),
                _ => Answer::Ok,
            },
        },
    );
    running.until_handled(4).await;
    running.stop().await;
    let mut handled = fixture.handled();
    handled.sort();
    assert_eq!(handled, ["1", "2", "3", "bad"], "stopping does not wait for the backoff either");
    assert_eq!(fixture.committed(0), 0);
}

struct Deciding {
    log: Log,
    decide: fn(&str) -> Answer,
}

impl Handler for Deciding {
    type Event = String;

    async fn handle(&self, event: &String, _: &Delivery) -> Answer {
        self.log.lock().unwrap().push(event.clone());
        (self.decide)(event)
    }
}

#[tokio::test]
async fn a_consumer_that_holds_little_pauses_and_resumes_without_a_record_lost_repeated_or_out_of_order() {
    let fixture = Fixture::new("backpressure", 1).await;
    let events: Vec<String> = (0..3000).map(|n| n.to_string()).collect();
    fixture.produce(0, &events).await;
    let mut settings = fixture.settings();
    // Room for some fifty records: dozens of pauses.
    settings.held_bytes = 16 << 10;
    let running = fixture.run(settings, Deciding { log: fixture.log(), decide: |_| Answer::Ok });
    running.until_handled(3000).await;
    running.stop().await;
    assert_eq!(fixture.handled(), events);
    assert_eq!((fixture.committed(0), dead_letters(&fixture).await.len()), (3000, 0));
}
