//! Blocked keys and what an operator does about them.

use std::time::Duration;

use persistence::outbox::{self, Lease, ReleaseError};
use sqlx::PgPool;
use testkit::PATIENCE;
use uuid::Uuid;

use crate::database;
use crate::outbox::{claim_all, everything, insert};

/// A key with three rows, the first of which was refused.
async fn blocked(pool: &PgPool, lease: &Lease) -> Uuid {
    let key = Uuid::new_v4();
    for sequence in 1..=3 {
        insert(pool, key, sequence).await;
    }
    let rows = claim_all(pool, lease).await;
    let first = rows.iter().find(|row| row.aggregate_id == key).unwrap();
    outbox::block(pool, lease, first, "too large").await.unwrap();
    key
}

async fn sequences(pool: &PgPool, lease: &Lease, key: Uuid) -> Vec<i64> {
    let rows = claim_all(pool, lease).await;
    rows.iter().filter(|row| row.aggregate_id == key).map(|row| row.sequence).collect()
}

#[tokio::test]
async fn rows_of_a_blocked_key_are_not_claimed_until_its_release_was_taken_up() {
    let (_database, pool) = database("orders").await;
    let lease = everything(&pool, PATIENCE).await;
    let (key, other) = (blocked(&pool, &lease).await, Uuid::new_v4());
    insert(&pool, other, 1).await;
    assert!(sequences(&pool, &lease, key).await.is_empty());
    assert_eq!(sequences(&pool, &lease, other).await, [1]);
    assert_eq!(outbox::backlog(&pool, &lease).await.unwrap().0, 1);
    let list = outbox::list_blocked(&pool, 10).await.unwrap();
    assert_eq!((list.len(), list[0].key, list[0].rows, list[0].reason.as_str()), (1, key, 3, "too large"));

    outbox::release_key(&pool, key).await.unwrap();
    assert!(sequences(&pool, &lease, key).await.is_empty(), "the relay might have read past its oldest rows");
    assert!(outbox::tend(&pool, lease.owner(), PATIENCE).await.unwrap().released);
    assert_eq!(outbox::take_up_released(&pool, &lease).await.unwrap(), 1);
    assert_eq!(sequences(&pool, &lease, key).await, [1, 2, 3]);
}

#[tokio::test]
async fn a_skipped_row_is_gone_and_who_decided_it_and_why_stays() {
    let (_database, pool) = database("orders").await;
    let lease = everything(&pool, PATIENCE).await;
    let key = blocked(&pool, &lease).await;
    let shown = outbox::show(&pool, key).await.unwrap().unwrap();
    let event = outbox::skip(&pool, key, "ada", "a duplicate").await.unwrap();
    assert_eq!(event, shown.event_id);
    outbox::take_up_released(&pool, &lease).await.unwrap();
    assert_eq!(sequences(&pool, &lease, key).await, [2, 3]);
    let noted: (Uuid, String, String, String) =
        sqlx::query_as("SELECT event_id, reason, skipped_by, skipped_why FROM outbox_skipped")
            .fetch_one(&pool)
            .await
            .unwrap();
    assert_eq!(noted, (event, "too large".into(), "ada".into(), "a duplicate".into()));
}

#[tokio::test]
async fn a_repaired_row_keeps_its_place() {
    let (_database, pool) = database("orders").await;
    let lease = everything(&pool, PATIENCE).await;
    let key = blocked(&pool, &lease).await;
    outbox::repair(&pool, key, r#"{"a":1}"#).await.unwrap();
    outbox::take_up_released(&pool, &lease).await.unwrap();
    assert_eq!(sequences(&pool, &lease, key).await, [1, 2, 3]);
    assert_eq!(claim_all(&pool, &lease).await[0].payload, r#"{"a":1}"#);
}

#[tokio::test]
async fn a_key_that_is_not_blocked_cannot_be_released() {
    let (_database, pool) = database("orders").await;
    let lease = everything(&pool, PATIENCE).await;
    let key = blocked(&pool, &lease).await;
    outbox::release_key(&pool, key).await.unwrap();
    let again = outbox::release_key(&pool, key).await;
    assert!(matches!(again, Err(ReleaseError::NotBlocked)), "{again:?}");
    let skipped = outbox::skip(&pool, key, "ada", "why not").await;
    assert!(matches!(skipped, Err(ReleaseError::NotBlocked)), "{skipped:?}");
    assert!(outbox::show(&pool, key).await.unwrap().is_none());
}

#[tokio::test]
async fn a_relay_that_was_taken_over_blocks_and_frees_nothing() {
    let (_database, pool) = database("orders").await;
    let old = everything(&pool, Duration::ZERO).await;
    insert(&pool, Uuid::new_v4(), 1).await;
    let row = claim_all(&pool, &old).await.remove(0);
    let new = everything(&pool, PATIENCE).await;
    outbox::block(&pool, &old, &row, "too large").await.unwrap();
    assert!(outbox::list_blocked(&pool, 10).await.unwrap().is_empty());

    outbox::block(&pool, &new, &row, "too large").await.unwrap();
    outbox::release_key(&pool, row.aggregate_id).await.unwrap();
    assert_eq!(outbox::take_up_released(&pool, &old).await.unwrap(), 0);
    assert_eq!(outbox::take_up_released(&pool, &new).await.unwrap(), 1);
}
