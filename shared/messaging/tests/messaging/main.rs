//! The consumer runtime on rdkafka's mock cluster: real protocol, no server.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod batches;
mod concurrency;
mod fixture;
mod held;
mod protection;
mod reader;
mod replays;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use fixture::{Fixture, dead_letters, payload, traceparent};
use messaging::consumer::Answer;
use testkit::within;

#[tokio::test]
async fn records_of_one_key_are_handled_in_order_and_committed_after_their_effect() {
    let fixture = Fixture::new("ordered", 1).await;
    fixture.produce(0, &["1", "2", "3", "4", "5"]).await;
    let running = fixture.consume(|_, _| Answer::Ok);
    running.until_handled(5).await;
    running.stop().await;

    assert_eq!(fixture.handled(), ["1", "2", "3", "4", "5"]);
    assert_eq!(fixture.committed(0), 5, "the last commit happens before the group is left");
}

#[tokio::test]
async fn a_record_whose_effect_is_not_done_is_not_committed_and_comes_again() {
    let fixture = Fixture::new("uncommitted", 1).await;
    fixture.produce(0, &["1", "2", "3"]).await;
    let running = fixture.consume(|event, _| match event {
        "2" => Answer::Unavailable("the database is away".to_owned()),
        _ => Answer::Ok,
    });
    running.until_handled(2).await;
    running.stop().await;
    assert_eq!(fixture.committed(0), 1);

    let running = fixture.consume(|_, _| Answer::Ok);
    running.until(|handled| handled.last().is_some_and(|last| last == "3")).await;
    running.stop().await;
    assert_eq!(fixture.committed(0), 3);
    assert!(dead_letters(&fixture).await.is_empty());
}

#[tokio::test]
async fn a_transient_failure_is_tried_again_and_goes_to_dead_letters_when_attempts_run_out() {
    let fixture = Fixture::new("attempts", 2).await;
    // Partition 1 goes on succeeding: the trouble is the message's own.
    let healthy: Vec<String> = (0..200).map(|n| format!("ok-{n}")).collect();
    fixture.produce(0, &["bad", "after"]).await;
    fixture.produce(1, &healthy).await;
    let running = fixture.consume_at(Duration::from_millis(5), |event, _| match event {
        "bad" => Answer::Retry("the provider answered 503".to_owned()),
        _ => Answer::Ok,
    });
    running.until(|handled| handled.iter().any(|event| event == "after")).await;
    running.stop().await;

    assert_eq!(fixture.handled().iter().filter(|event| *event == "bad").count(), 3, "three attempts are set");
    let letters = dead_letters(&fixture).await;
    assert_eq!(letters.len(), 1);
    assert_eq!(payload(&letters[0]), "bad");
    assert_eq!(letters[0].reason, "the provider answered 503");
    assert_eq!(letters[0].attempts, 3);
}

#[tokio::test]
async fn a_dependency_that_refuses_everything_for_a_while_uses_up_no_message() {
    let fixture = Fixture::new("outage", 2).await;
    fixture.produce(0, &["a", "b"]).await;
    fixture.produce(1, &["c", "d"]).await;
    let refused = Arc::new(AtomicU32::new(0));
    let count = refused.clone();
    let running = fixture.consume(move |_, _| {
        if count.fetch_add(1, Ordering::Relaxed) < 25 {
            Answer::Retry("the provider answered 503".to_owned())
        } else {
            Answer::Ok
        }
    });
    // 25 refusals are far more than four messages have attempts.
    running.until(|handled| handled.len() >= 25 + 4).await;
    running.stop().await;
    assert!(dead_letters(&fixture).await.is_empty());
    assert_eq!((fixture.committed(0), fixture.committed(1)), (2, 2));
}

#[tokio::test]
async fn poison_goes_to_dead_letters_at_once_with_where_it_came_from_and_stops_nobody() {
    let fixture = Fixture::new("poison", 1).await;
    fixture.produce(0, &["good", "bad", "panics", "garbage", "unknown", "last"]).await;
    let running = fixture.consume(|event, _| match event {
        "bad" => Answer::Poison("the provider answered 400".to_owned()),
        "panics" => panic!("a bug"),
        _ => Answer::Ok,
    });
    running.until(|handled| handled.iter().any(|event| event == "last")).await;
    let (status, metrics) = (running.status.clone(), running.metrics.clone());
    running.stop().await;

    assert_eq!(fixture.handled(), ["good", "bad", "panics", "last"], "each is asked once");
    let counted = metrics.text();
    for (outcome, count) in [("applied", 2), ("poison", 2), ("undecodable", 1), ("skipped", 1), ("retry", 0)]
    {
        let group = fixture.group;
        let line = format!("consumer_records_total{{group=\"{group}\",outcome=\"{outcome}\"}} {count}");
        assert!(counted.lines().any(|counted| counted == line), "{line}\n{counted}");
    }
    assert_eq!((status.skipped(), status.dead_letters()), (1, 3));
    let letters = dead_letters(&fixture).await;
    let reasons: Vec<&str> = letters.iter().map(|letter| letter.reason.as_str()).collect();
    assert_eq!(reasons, ["the provider answered 400", "the handler panicked", "not an event"]);
    let bad = &letters[0];
    assert_eq!((bad.source_topic.as_str(), bad.source_partition, bad.source_offset), (&*fixture.topic, 0, 1));
    assert_eq!((bad.handler.as_str(), bad.key.as_slice(), bad.replays), (fixture.group, &b"key"[..], 0));
    assert_eq!(traceparent(bad), fixture::TRACEPARENT, "the headers of the record stay");
}

#[tokio::test]
async fn a_stop_while_brokers_are_away_ends_before_a_supervisor_loses_its_patience() {
    let fixture = Fixture::new("brokerless", 1).await;
    fixture.produce(0, &["1", "2"]).await;
    let running = fixture.consume(|_, _| Answer::Ok);
    running.until_handled(2).await;
    fixture.lose_brokers();
    running.shutdown.cancel();
    // Nothing has to drain, which may take 4 s of the supervisor's 10. Commit and leave take 2 s each.
    within(Duration::from_secs(5), "it has stopped", async || {
        if running.task.is_finished() { Ok(()) } else { Err("it has not") }
    })
    .await;
    running.stop().await;
}

#[tokio::test]
async fn a_second_consumer_takes_over_partitions_without_a_record_lost_or_handled_out_of_order() {
    // Slow enough that the first consumer is in the middle of its work when the second one joins.
    let (partitions, events, pace) = (4, 400, Duration::from_millis(30));
    let fixture = Fixture::new("rebalance", partitions).await;
    for partition in 0..partitions {
        fixture
            .produce(partition, &(0..events).map(|event| format!("{partition}-{event}")).collect::<Vec<_>>())
            .await;
    }
    let first = fixture.consume_at(pace, |_, _| Answer::Ok);
    first.until_handled(50).await;
    let second = fixture.consume_at(pace, |_, _| Answer::Ok);
    // The last event of each partition, so that a repeat is not taken for progress.
    let last = (0..partitions).map(|partition| format!("{partition}-{}", events - 1)).collect::<Vec<_>>();
    second.until(|handled| last.iter().all(|event| handled.contains(event))).await;
    assert!(second.status.ready().is_ok(), "the second consumer took part");
    first.stop().await;
    second.stop().await;

    for partition in 0..partitions {
        let prefix = format!("{partition}-");
        let mut firsts: Vec<i32> = Vec::new();
        for event in fixture.handled().iter().filter_map(|event| event.strip_prefix(&prefix)) {
            let number = event.parse().unwrap();
            if !firsts.contains(&number) {
                firsts.push(number);
            }
        }
        assert_eq!(firsts, (0..events).collect::<Vec<_>>(), "first deliveries of partition {partition}");
    }
    for partition in 0..partitions {
        assert!(
            fixture.committed(partition) <= i64::from(events),
            "nothing is committed that was not handled"
        );
    }
}
