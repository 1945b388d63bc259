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
