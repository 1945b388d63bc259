//! A rebalance storm on a real broker: consumers come and go all the time, and still nothing is missed, and the first occurrences of
//! each key come in order.
//!
//! `STORM_PROTOCOL=consumer` leaves the assignment to the broker; `STORM_RECORDS` and `STORM_RESTARTS` make it larger or smaller. It prints how
//! long any partition stood still; run with `--nocapture` to see it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use clap::ValueEnum;
use messaging::consumer::{self, Answer, ConsumerSettings, ConsumerStatus, Delivery, GroupProtocol, Handler};
use messaging::{KafkaSettings, OutgoingRecord, Producer, RetrySettings};
use testkit::{Servers, within};
use tokio_util::sync::CancellationToken;

const CONSUMERS: usize = 8;
const PARTITIONS: i32 = 32;
/// So many events has each key.
const EVENTS: usize = 10;

fn size(variable: &str, default: usize) -> usize {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap())
}

/// What an inbox in a database would keep: the numbers of each key, in the order of their first delivery.
#[derive(Default)]
struct Inbox {
    firsts: Mutex<HashMap<String, Vec<usize>>>,
    distinct: AtomicUsize,
    deliveries: AtomicUsize,
    /// By partition: when something was delivered last, and the longest time between two deliveries.
    standstills: Mutex<HashMap<i32, (Instant, Duration)>>,
}

impl Inbox {
    fn note(&self, event: &(String, usize), partition: i32) {
        let now = Instant::now();
        let mut standstills = self.standstills.lock().unwrap();
        let (last, longest) = standstills.entry(partition).or_insert((now, Duration::ZERO));
        *longest = now.duration_since(*last).max(*longest);
        *last = now;
        drop(standstills);
        self.deliveries.fetch_add(1, Ordering::Relaxed);
        let mut firsts = self.firsts.lock().unwrap();
        let seen = firsts.entry(event.0.clone()).or_default();
        if !seen.contains(&event.1) {
            seen.push(event.1);
            self.distinct.fetch_add(1, Ordering::Relaxed);
        }
    }
}

struct Noting {
    inbox: Arc<Inbox>,
    /// What is left of this life's share.
    share: Arc<AtomicUsize>,
    over: CancellationToken,
}

impl Handler for Noting {
    type Event = (String, usize);

    async fn handle(&self, event: &Self::Event, delivery: &Delivery) -> Answer {
        // The work of the handler: deliveries are under way when partitions move.
        tokio::time::sleep(Duration::from_millis(1)).await;
        self.inbox.note(event, delivery.partition);
        if self.share.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.over.cancel();
        }
        Answer::Ok
    }
}

fn decode(payload: &[u8]) -> Result<Option<(String, usize)>, &'static str> {
    let text = std::str::from_utf8(payload).map_err(|_| "not text")?;
    let (key, number) = text.split_once(' ').ok_or("no number")?;
    Ok(Some((key.to_owned(), number.parse().map_err(|_| "not a number")?)))
}

/// One life of a consumer after the other. Each ends when its share is done, the last when all is.
async fn lives(
    settings: ConsumerSettings,
    inbox: Arc<Inbox>,
    restarts: usize,
    share: usize,
    end: CancellationToken,
) {
    for life in 0..=restarts {
        let over = end.child_token();
        let share = Arc::new(AtomicUsize::new(if life == restarts { usize::MAX } else { share }));
        let handler = Noting { inbox: inbox.clone(), share, over: over.clone() };
        consumer::run(settings.clone(), decode, handler, ConsumerStatus::default(), over).await.unwrap();
    }
}

async fn publish(kafka: &KafkaSettings, topic: &str, records: usize) {
    let producer = Producer::new(kafka, "storm", Duration::from_secs(30)).unwrap();
    let keys = records / EVENTS;
    for number in 0..EVENTS {
        for chunk in (0..keys).collect::<Vec<_>>().chunks(5_000) {
            let batch = chunk
                .iter()
                .map(|key| OutgoingRecord::new(topic, format!("key-{key}"), format!("key-{key} {number}")));
            for outcome in producer.publish(batch.collect()).await {
                outcome.unwrap();
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn consumers_that_come_and_go_miss_nothing_and_see_each_key_in_order() {
    let (records, restarts) = (size("STORM_RECORDS", 100_000), size("STORM_RESTARTS", 16));
    let protocol = std::env::var("STORM_PROTOCOL")
        .map_or(GroupProtocol::Classic, |name| GroupProtocol::from_str(&name, true).unwrap());
    let servers = Servers::shared().await;
    let kafka = KafkaSettings { brokers: servers.kafka_brokers().to_owned() };
    let topic = servers.topic("storm", PARTITIONS).await;
    publish(&kafka, &topic, records).await;

    let (inbox, end) = (Arc::new(Inbox::default()), CancellationToken::new());
    let group: &'static str = topic.clone().leak();
    let retry = RetrySettings {
        retry_max_attempts: 5,
        retry_base: Duration::from_millis(50),
        retry_cap: Duration::from_secs(1),
    };
    // Half of the work is done by consumers that will go again.
    let share = (records / 2 / CONSUMERS / restarts.max(1)).max(1);
    let consumers: Vec<_> = (0..CONSUMERS)
        .map(|_| {
            let mut settings = ConsumerSettings::new(kafka.clone(), retry.clone(), group, &topic);
            settings.in_flight = 16;
            settings.protocol = protocol;
            tokio::spawn(lives(settings, inbox.clone(), restarts, share, end.clone()))
        })
        .collect();
    let started = Instant::now();
    within(Duration::from_secs(600), "every record was handled", async || {
        match inbox.distinct.load(Ordering::Relaxed) {
            handled if handled == records => Ok(()),
            handled => Err(format!("{handled} of {records}")),
        }
    })
    .await;
    end.cancel();
    for consumer in consumers {
        consumer.await.unwrap();
    }

    let expected: Vec<usize> = (0..EVENTS).collect();
    let firsts = inbox.firsts.lock().unwrap();
    let out_of_order = firsts.iter().filter(|(_, numbers)| **numbers != expected).count();
    let repeats = inbox.deliveries.load(Ordering::Relaxed) - records;
    let mut standstills: Vec<Duration> =
        inbox.standstills.lock().unwrap().values().map(|(_, longest)| *longest).collect();
    standstills.sort_unstable();
    println!(
        "{protocol:?}: {records} records, {CONSUMERS} consumers with {restarts} restarts each: {:.1} s, {repeats} repeats, longest standstill of a \
         partition: {:.1?} in the median, {:.1?} at worst",
        started.elapsed().as_secs_f64(),
        standstills[standstills.len() / 2],
        standstills[standstills.len() - 1]
    );
    assert_eq!((firsts.len(), out_of_order), (records / EVENTS, 0));
}
