//! First deliveries and repeats.

use std::time::Duration;

use chrono::Utc;
use persistence::errors;
use persistence::inbox::{self, Arrival, Event};
use sqlx::PgPool;
use testkit::within;
use uuid::Uuid;

use crate::{database, patient_database};

/// One that nobody has seen.
pub(crate) fn event() -> Event {
    Event { id: Uuid::new_v4(), occurred_at: Utc::now(), beyond_horizon: false }
}

/// The events as one batch in a transaction.
pub(crate) async fn arrive(pool: &PgPool, events: &[Event]) -> Vec<Arrival> {
    let mut transaction = pool.begin().await.unwrap();
    let arrivals = inbox::first_deliveries(&mut transaction, events).await.unwrap();
    transaction.commit().await.unwrap();
    arrivals
}

#[tokio::test]
async fn of_two_transactions_with_the_same_event_the_second_waits_and_is_told_it_is_a_repeat() {
    let (_database, pool) = database("email").await;
    let event = event();
    let mut first = pool.begin().await.unwrap();
    assert_eq!(inbox::first_delivery(&mut first, event).await.unwrap(), Arrival::First);
    let mut second = pool.begin().await.unwrap();
    let repeat = async { inbox::first_delivery(&mut second, event).await.unwrap() };
    let (committed, second) = tokio::join!(first.commit(), repeat);
    committed.unwrap();
    assert_eq!(second, Arrival::Repeat);
    assert_eq!(inbox::arrival(&pool, event).await.unwrap(), Arrival::Repeat);
}

#[tokio::test]
async fn an_effect_that_was_rolled_back_may_be_applied_by_the_next_delivery() {
    let (_database, pool) = database("email").await;
    let event = event();
    let mut first = pool.begin().await.unwrap();
    assert_eq!(inbox::first_delivery(&mut first, event).await.unwrap(), Arrival::First);
    first.rollback().await.unwrap();
    assert_eq!(inbox::arrival(&pool, event).await.unwrap(), Arrival::First);
    let mut second = pool.begin().await.unwrap();
    assert_eq!(inbox::first_delivery(&mut second, event).await.unwrap(), Arrival::First);
}

#[tokio::test]
async fn a_batch_is_told_of_each_event_whether_it_is_new_and_an_event_that_stands_in_it_twice_is_new_once() {
    let (_database, pool) = database("email").await;
    let (known, a, b) = (event(), event(), event());
    assert_eq!(arrive(&pool, &[known]).await, [Arrival::First]);
    let arrivals = arrive(&pool, &[b, known, a, b]).await;
    assert_eq!(arrivals, [Arrival::First, Arrival::Repeat, Arrival::First, Arrival::Repeat]);
    assert_eq!(arrive(&pool, &[]).await, []);
    assert_eq!(arrive(&pool, &[a, b]).await, [Arrival::Repeat; 2]);
}

#[tokio::test]
async fn batches_with_the_same_events_in_opposite_order_wait_for_each_other_and_never_deadlock() {
    let (_database, pool) = patient_database("email").await;
    let events: Vec<_> = (0..500).map(|_| event()).collect();
    let backwards: Vec<_> = events.iter().rev().copied().collect();
    let apply = async |batch: &[_]| {
        arrive(&pool, batch).await.into_iter().filter(|arrival| *arrival == Arrival::First).count()
    };
    let (one, other) = tokio::join!(apply(&events), apply(&backwards));
    assert_eq!((one.min(other), one.max(other)), (0, 500));
}

#[tokio::test]
async fn a_consumer_frozen_inside_its_transaction_holds_its_successor_up_for_seconds_only() {
    let (_database, pool) = database("email").await;
    let event = event();
    let mut frozen = pool.begin().await.unwrap();
    inbox::first_delivery(&mut frozen, event).await.unwrap();
    // The successor is told to come back, and gets through once the server has ended the frozen transaction.
    within(Duration::from_secs(30), "the successor applies the event", async || {
        let mut transaction = pool.begin().await.unwrap();
        match inbox::first_delivery(&mut transaction, event).await {
            Ok(Arrival::First) => Ok(()),
            Ok(other) => panic!("the frozen transaction never committed, and yet {other:?}"),
            Err(error) if errors::is_unavailable(&error) => Err(error.to_string()),
            Err(error) => panic!("not an error to wait out: {error}"),
        }
    })
    .await;
    assert!(frozen.commit().await.is_err(), "the frozen transaction is gone");
}

#[tokio::test]
async fn an_event_is_looked_up_by_its_key_however_many_are_remembered() {
    let (_database, pool) = database("email").await;
    sqlx::query("INSERT INTO inbox (event_id, occurred_at) SELECT gen_random_uuid(), now() FROM generate_series(1, 20000)")
        .execute(&pool)
        .await
        .unwrap();
    let events: Vec<Event> = (0..5).map(|_| event()).collect();
    arrive(&pool, &events).await;
    let mut transaction = pool.begin().await.unwrap();
    for known in &events {
        assert_eq!(inbox::first_delivery(&mut transaction, *known).await.unwrap(), Arrival::Repeat);
    }
    assert_eq!(inbox::first_deliveries(&mut transaction, &events).await.unwrap(), [Arrival::Repeat; 5]);
    let read: Option<i64> =
        sqlx::query_scalar("SELECT seq_tup_read FROM pg_stat_xact_user_tables WHERE relname = 'inbox'")
            .fetch_one(&mut *transaction)
            .await
            .unwrap();
    assert_eq!(read, Some(0), "rows were read past that nobody asked for");
}
