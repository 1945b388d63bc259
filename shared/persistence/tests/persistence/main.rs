//! Outbox and inbox on a real Postgres.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod blocked;
mod outbox;

use std::time::Duration;

use chrono::Utc;
use persistence::{errors, inbox};
use sqlx::PgPool;
use testkit::{Servers, TestDatabase};
use uuid::Uuid;

pub(crate) async fn database(name: &str) -> (TestDatabase, PgPool) {
    let database = Servers::shared().await.database(name).await.migrated().await;
    let pool = database.pool().await;
    (database, pool)
}

#[test]
fn every_consumer_has_the_same_inbox() {
    let inbox = |database: &str| {
        let file = testkit::workspace_root().join(format!("migrations/{database}/0001_inbox.sql"));
        std::fs::read_to_string(file).unwrap()
    };
    for database in ["sms", "inventory", "analytics"] {
        assert_eq!(inbox(database), inbox("email"), "migrations/{database}/0001_inbox.sql");
    }
}

#[tokio::test]
async fn of_two_transactions_with_the_same_event_the_second_waits_and_is_told_it_is_a_repeat() {
    let (_database, pool) = database("email").await;
    let (event, at) = (Uuid::new_v4(), Utc::now());
    let mut first = pool.begin().await.unwrap();
    assert!(inbox::first_delivery(&mut first, event, at).await.unwrap());
    let mut second = pool.begin().await.unwrap();
    let repeat = async { inbox::first_delivery(&mut second, event, at).await.unwrap() };
    let (committed, first_of_second) = tokio::join!(first.commit(), repeat);
    committed.unwrap();
    assert!(!first_of_second);
    assert!(inbox::seen(&pool, event).await.unwrap());
}

#[tokio::test]
async fn an_effect_that_was_rolled_back_may_be_applied_by_the_next_delivery() {
    let (_database, pool) = database("email").await;
    let (event, at) = (Uuid::new_v4(), Utc::now());
    let mut first = pool.begin().await.unwrap();
    assert!(inbox::first_delivery(&mut first, event, at).await.unwrap());
    first.rollback().await.unwrap();
    assert!(!inbox::seen(&pool, event).await.unwrap());
    let mut second = pool.begin().await.unwrap();
    assert!(inbox::first_delivery(&mut second, event, at).await.unwrap());
}

#[tokio::test]
async fn a_batch_is_told_of_each_event_whether_it_is_new_and_an_event_that_stands_in_it_twice_is_new_once() {
    let (_database, pool) = database("email").await;
    let (known, a, b, at) = (Uuid::new_v4(), Uuid::new_v4(), Uuid::new_v4(), Utc::now());
    let mut transaction = pool.begin().await.unwrap();
    assert!(inbox::first_delivery(&mut transaction, known, at).await.unwrap());
    transaction.commit().await.unwrap();
    let mut transaction = pool.begin().await.unwrap();
    let batch = [(b, at), (known, at), (a, at), (b, at)];
    let first = inbox::first_deliveries(&mut transaction, &batch).await.unwrap();
    assert_eq!(first, [true, false, true, false]);
    assert_eq!(inbox::first_deliveries(&mut transaction, &[]).await.unwrap(), [false; 0]);
    transaction.commit().await.unwrap();
    assert!(inbox::seen(&pool, a).await.unwrap() && inbox::seen(&pool, b).await.unwrap());
}

#[tokio::test]
async fn batches_with_the_same_events_in_opposite_order_wait_for_each_other_and_never_deadlock() {
    let (_database, pool) = database("email").await;
    let at = Utc::now();
    let events: Vec<_> = (0..500).map(|_| (Uuid::new_v4(), at)).collect();
    let backwards: Vec<_> = events.iter().rev().copied().collect();
    let apply = async |batch: &[_]| {
        let mut transaction = pool.begin().await.unwrap();
        let first = inbox::first_deliveries(&mut transaction, batch).await.unwrap();
        transaction.commit().await.unwrap();
        first.into_iter().filter(|first| *first).count()
    };
    let (one, other) = tokio::join!(apply(&events), apply(&backwards));
    assert_eq!((one.min(other), one.max(other)), (0, 500));
}

#[tokio::test]
async fn a_consumer_frozen_inside_its_transaction_holds_its_successor_up_for_seconds_only() {
    let (_database, pool) = database("email").await;
    let (event, at) = (Uuid::new_v4(), Utc::now());
    let mut frozen = pool.begin().await.unwrap();
    inbox::first_delivery(&mut frozen, event, at).await.unwrap();
    // The successor is told to come back, and gets through once the server has ended the frozen transaction.
    testkit::eventually(Duration::from_secs(30), "the successor applies the event", async || {
        let mut transaction = pool.begin().await.unwrap();
        match inbox::first_delivery(&mut transaction, event, at).await {
            Ok(true) => Ok(()),
            Ok(false) => panic!("the frozen transaction never committed"),
            Err(error) if errors::is_unavailable(&error) => Err(error.to_string()),
            Err(error) => panic!("not an error to wait out: {error}"),
        }
    })
    .await;
    assert!(frozen.commit().await.is_err(), "the frozen transaction is gone");
}

#[tokio::test]
async fn no_service_can_connect_to_the_database_of_another() {
    let (database, _pool) = database("email").await;
    let (_, rest) = database.url().split_once('@').unwrap();
    let stranger = format!("postgres://sms:sms@{rest}");
    let pool = persistence::pool::connect_lazy(&stranger, 1, "test").unwrap();
    let error = persistence::pool::ping(&pool).await.unwrap_err();
    assert!(error.to_string().contains("permission denied"), "{error}");
}
