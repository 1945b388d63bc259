//! Outbox and inbox on a real Postgres.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use chrono::Utc;
use persistence::outbox::{self, BUCKETS};
use persistence::{errors, inbox};
use sqlx::PgPool;
use testkit::{Servers, TestDatabase};
use uuid::Uuid;

const LONG: Duration = Duration::from_secs(60);

async fn database(name: &str) -> (TestDatabase, PgPool) {
    let database = Servers::shared().await.database(name).await.migrated().await;
    let pool = database.pool().await;
    (database, pool)
}

async fn insert(pool: &PgPool, aggregate: Uuid, sequence: i64) {
    sqlx::query(
        "INSERT INTO outbox (topic, aggregate_id, sequence, event_id, event_type, source, payload)
         VALUES ('things', $1, $2, gen_random_uuid(), 'ThingHappened', '/tests', '{}')",
    )
    .bind(aggregate)
    .bind(sequence)
    .execute(pool)
    .await
    .unwrap();
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
async fn claimed_rows_come_oldest_first_per_bucket_and_rows_of_blocked_keys_do_not_come() {
    let (_database, pool) = database("orders").await;
    let lease = outbox::acquire(&pool, Uuid::new_v4(), LONG).await.unwrap().unwrap();
    assert_eq!(lease.buckets().len(), BUCKETS);
    let keys: Vec<Uuid> = (0..50).map(|_| Uuid::new_v4()).collect();
    for sequence in 1..=3 {
        for key in &keys {
            insert(&pool, *key, sequence).await;
        }
    }
    let rows = outbox::claim(&pool, &lease, 1000).await.unwrap();
    assert_eq!(rows.len(), 150);
    assert!(rows.is_sorted_by_key(|row| row.row_id));
    let blocked = rows.iter().find(|row| row.aggregate_id == keys[0]).unwrap();
    assert_eq!(blocked.sequence, 1, "the oldest row of a key comes first");

    outbox::block(&pool, blocked, "too large").await.unwrap();
    let rows = outbox::claim(&pool, &lease, 1000).await.unwrap();
    assert_eq!(rows.len(), 147);
    assert!(rows.iter().all(|row| row.aggregate_id != keys[0]));
    assert_eq!(outbox::backlog(&pool, &lease).await.unwrap().0, 1);
}

#[tokio::test]
async fn a_lease_that_was_taken_over_settles_nothing_and_cannot_be_renewed() {
    let (_database, pool) = database("orders").await;
    insert(&pool, Uuid::new_v4(), 1).await;
    let old = outbox::acquire(&pool, Uuid::new_v4(), Duration::ZERO).await.unwrap().unwrap();
    let rows = outbox::claim(&pool, &old, 10).await.unwrap();
    let new = outbox::acquire(&pool, Uuid::new_v4(), LONG).await.unwrap().unwrap();
    assert!(outbox::acquire(&pool, Uuid::new_v4(), LONG).await.unwrap().is_none(), "all buckets are held");

    assert!(!outbox::renew(&pool, &old, LONG).await.unwrap());
    assert_eq!(outbox::settle(&pool, &old, &[rows[0].row_id]).await.unwrap(), 0);
    outbox::release(&pool, &old).await.unwrap();
    assert!(
        outbox::renew(&pool, &new, LONG).await.unwrap(),
        "a late release takes nothing from the new holder"
    );
    assert_eq!(outbox::settle(&pool, &new, &[rows[0].row_id]).await.unwrap(), 1);
    assert!(outbox::claim(&pool, &new, 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn the_database_spreads_keys_over_all_buckets() {
    let (_database, pool) = database("orders").await;
    for _ in 0..1000 {
        insert(&pool, Uuid::now_v7(), 1).await;
    }
    let (buckets, least, most): (i64, i16, i16) =
        sqlx::query_as("SELECT count(DISTINCT bucket), min(bucket), max(bucket) FROM outbox")
            .fetch_one(&pool)
            .await
            .unwrap();
    assert!(buckets >= 60, "1000 keys fill {buckets} buckets");
    assert!(least >= 0 && usize::try_from(most).unwrap() < BUCKETS);
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
