//! What keeps a consumer from making things worse: probes, the rate of dead letters, operators, the watchdog.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use messaging::consumer::{Answer, ConsumerStatus, Delivery, Handler};
use tokio::sync::Semaphore;

use crate::fixture::{Fixture, Log, dead_letters};

/// A dependency that is away, how many ask it at the same time, and how often it was asked.
#[derive(Default)]
struct Dependency {
    away: AtomicBool,
    asking: AtomicUsize,
    most: AtomicUsize,
    asked: AtomicU64,
}

struct Dependent {
    dependency: Arc<Dependency>,
    log: Log,
}

impl Handler for Dependent {
    type Event = String;

    async fn handle(&self, event: &String, _: &Delivery) -> Answer {
        let dependency = &self.dependency;
        dependency.asked.fetch_add(1, Ordering::SeqCst);
        let asking = dependency.asking.fetch_add(1, Ordering::SeqCst) + 1;
        dependency.most.fetch_max(asking, Ordering::SeqCst);
        // The work of the handler: enough for others to be seen beside it.
        tokio::time::sleep(Duration::from_millis(2)).await;
        let away = dependency.away.load(Ordering::SeqCst);
        dependency.asking.fetch_sub(1, Ordering::SeqCst);
        if away {
            return Answer::Unavailable("connection refused".to_owned());
        }
        self.log.lock().unwrap().push(event.clone());
        Answer::Ok
    }
}

#[tokio::test]
async fn while_a_dependency_is_away_one_probe_at_a_time_asks_it_and_afterwards_all_records_are_handled() {
    let fixture = Fixture::new("probe", 4).await;
    let dependency = Arc::new(Dependency::default());
    dependency.away.store(true, Ordering::SeqCst);
    for partition in 0..4 {
        let events: Vec<String> = (0..100).map(|n| format!("{partition}-{n}")).collect();
        fixture.produce_unrelated(partition, &events).await;
    }
    let handler = Dependent { dependency: dependency.clone(), log: fixture.log() };
    let running = fixture.run(fixture.settings(), handler);
    running.eventually("a first probe failed", |status| status.probes() >= 2).await;
    assert_eq!(running.status.flowing(), Err("waiting for a dependency: connection refused".to_owned()));
    assert!(running.status.is_live() && running.status.ready().is_ok());
    let (asked, probes) = (dependency.asked.load(Ordering::SeqCst), running.status.probes());
    dependency.most.store(0, Ordering::SeqCst);
    let more_probes = |status: &ConsumerStatus| {
        let asked = dependency.asked.load(Ordering::SeqCst) - asked;
        let probed = status.probes() - probes;
        assert!(asked.abs_diff(probed) <= 1, "{asked} calls for {probed} probes: only one can be on its way");
        probed > 10
    };
    running.eventually("more probes", more_probes).await;
    assert_eq!(dependency.most.load(Ordering::SeqCst), 1, "one at a time");

    dependency.away.store(false, Ordering::SeqCst);
    running.until_handled(400).await;
    running.eventually("nothing waits", |status| status.flowing().is_ok()).await;
    running.stop().await;
    assert_eq!(fixture.handled().iter().collect::<BTreeSet<_>>().len(), 400);
    assert!(dead_letters(&fixture).await.is_empty());
    assert!(dependency.most.load(Ordering::SeqCst) > 1, "they run side by side again");
}

#[tokio::test]
async fn too_many_dead_letters_in_a_minute_pause_the_consumer_until_an_operator_resumes_it() {
    let fixture = Fixture::new("letters", 1).await;
    let mut events: Vec<String> = (0..10).map(|n| format!("bad-{n}")).collect();
    events.insert(0, "garbage".to_owned());
    fixture.produce_unrelated(0, &events).await;
    let mended = Arc::new(AtomicBool::new(false));
    let is_mended = mended.clone();
    let mut settings = fixture.settings();
    settings.guard.dead_letters_per_minute = 3;
    settings.in_flight = 1;
    let running = fixture.run(settings, Mendable { log: fixture.log(), mended: is_mended });
    running.eventually("it pauses", |status| status.flowing().is_err()).await;
    running.eventually("three and the unreadable one", |status| status.dead_letters() == 4).await;
    let reason = running.status.flowing().unwrap_err();
    assert!(reason.starts_with("paused: more than 3 dead letters in a minute"), "{reason}");
    assert!(running.status.is_live(), "a restart would not help");
    assert!(
        running.status.too_many_dead_letters().is_some(),
        "so that somebody can write it down for the whole group"
    );

    mended.store(true, Ordering::SeqCst);
    running.status.control().resume();
    running.until_handled(7).await;
    running.stop().await;
    assert_eq!((dead_letters(&fixture).await.len(), fixture.committed(0)), (4, 11));
}

/// Fails everything until somebody mends it.
struct Mendable {
    log: Log,
    mended: Arc<AtomicBool>,
}

impl Handler for Mendable {
    type Event = String;

    async fn handle(&self, event: &String, _: &Delivery) -> Answer {
        if !self.mended.load(Ordering::SeqCst) {
            return Answer::Poison("the provider answered 403".to_owned());
        }
        self.log.lock().unwrap().push(event.clone());
        Answer::Ok
    }
}

#[tokio::test]
async fn an_operator_can_pause_a_consumer_and_nothing_is_handled_until_it_is_resumed() {
    let fixture = Fixture::new("operator", 1).await;
    let running = fixture.consume(|_, _| Answer::Ok);
    fixture.produce_unrelated(0, &["before"]).await;
    running.until_handled(1).await;
    let control = running.status.control();
    control.pause("maintenance of the provider");
    assert_eq!(running.status.flowing(), Err("paused: maintenance of the provider".to_owned()));
    assert!(running.status.ready().is_ok() && running.status.is_live());
    fixture.produce_unrelated(0, &["while paused"]).await;
    assert_eq!(fixture.handled(), ["before"]);
    control.resume();
    assert!(running.status.flowing().is_ok());
    running.until_handled(2).await;
    running.stop().await;
    assert_eq!(fixture.committed(0), 2);
}

#[tokio::test]
async fn a_consumer_that_is_paused_before_it_starts_does_not_join() {
    let fixture = Fixture::new("absent", 1).await;
    fixture.produce(0, &["1"]).await;
    let running = fixture.consume_paused("stopped before the last restart", |_, _| Answer::Ok);
    running.eventually("it polls", |status| status.ready().is_ok()).await;
    assert_eq!((fixture.handled().len(), fixture.committed(0)), (0, -1));
    running.status.control().resume();
    assert!(running.status.ready().is_err(), "it was no member till now");
    running.until_handled(1).await;
    running.stop().await;
}

struct Waiting(Arc<Semaphore>);

impl Handler for Waiting {
    type Event = String;

    async fn handle(&self, _: &String, _: &Delivery) -> Answer {
        self.0.acquire().await.unwrap().forget();
        Answer::Ok
    }
}

#[tokio::test]
async fn a_partition_that_was_given_up_while_it_was_full_is_read_again_when_it_comes_back() {
    let fixture = Fixture::new("full", 1).await;
    let events: Vec<String> = (0..50).map(|n| n.to_string()).collect();
    fixture.produce_unrelated(0, &events).await;
    let gate = Arc::new(Semaphore::new(0));
    let mut settings = fixture.settings();
    // Every record fills it, so fetching is paused whenever one is there.
    settings.held_bytes = 1;
    settings.drain = Duration::from_millis(10);
    let running = fixture.run(settings, Gated { gate: gate.clone(), log: fixture.log() });
    running.eventually("a record fills it", |status| status.held() > 0).await;
    running.status.control().pause("moving house");
    running.eventually("it has left", |status| status.held() == 0).await;
    gate.add_permits(1000);
    running.status.control().resume();
    assert!(running.status.ready().is_err(), "it has to join again");
    running.until(|handled| handled.iter().collect::<BTreeSet<_>>().len() == 50).await;
    running.stop().await;
    assert_eq!(fixture.committed(0), 50);
}

/// Takes a record only with a permit.
struct Gated {
    gate: Arc<Semaphore>,
    log: Log,
}

impl Handler for Gated {
    type Event = String;

    async fn handle(&self, event: &String, _: &Delivery) -> Answer {
        self.gate.acquire().await.unwrap().forget();
        self.log.lock().unwrap().push(event.clone());
        Answer::Ok
    }
}

#[tokio::test]
async fn a_handler_that_is_stuck_fails_liveness_until_it_moves_again() {
    let fixture = Fixture::new("stuck", 1).await;
    fixture.produce(0, &["1"]).await;
    let gate = Arc::new(Semaphore::new(0));
    let mut settings = fixture.settings();
    settings.guard.stuck_after = Duration::from_millis(200);
    let running = fixture.run(settings, Waiting(gate.clone()));
    running.eventually("liveness fails", |status| !status.is_live()).await;
    assert!(running.status.flowing().is_ok(), "it does not wait for anything");
    gate.add_permits(1);
    running.eventually("it is live again", |status| status.is_live()).await;
    running.stop().await;
    assert_eq!(fixture.committed(0), 1);
}
