//! Leases, claims, settling and pokes.

use std::time::Duration;

use persistence::outbox::{self, BUCKETS, Lease, Poke, Row, RowId, Start};
use sqlx::PgPool;
use sqlx::postgres::PgListener;
use testkit::{PATIENCE, eventually};
use uuid::Uuid;

use crate::database;

pub(crate) async fn insert(pool: &PgPool, aggregate: Uuid, sequence: i64) {
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

/// A lease on everything that is free.
pub(crate) async fn everything(pool: &PgPool, duration: Duration) -> Lease {
    let mut lease = Lease::new(Uuid::new_v4());
    outbox::tend(pool, lease.owner(), duration).await.unwrap();
    lease.extend(outbox::take(pool, lease.owner(), BUCKETS).await.unwrap());
    lease
}

pub(crate) async fn claim_all(pool: &PgPool, lease: &Lease) -> Vec<Row> {
    let starts: Vec<Start> = lease.buckets().map(|bucket| Start { bucket, after: 0 }).collect();
    outbox::claim(pool, &starts, &[], &[], 1000).await.unwrap().rows
}

#[tokio::test]
async fn how_far_a_bucket_is_done_with_is_written_by_its_holder_only_and_moves_forward_only() {
    let (database, _) = database("orders").await;
    let pool = outbox::connect(database.url(), "test").unwrap();
    let first = everything(&pool, PATIENCE).await;
    let all = |mark| vec![mark; BUCKETS];
    outbox::remember(&pool, &first, &all(70)).await.unwrap();
    outbox::remember(&pool, &first, &all(60)).await.unwrap();
    outbox::leave(&pool, first.owner()).await.unwrap();

    let owner = Uuid::new_v4();
    outbox::tend(&pool, owner, PATIENCE).await.unwrap();
    let taken = outbox::take(&pool, owner, BUCKETS).await.unwrap();
    assert!(taken.iter().all(|(_, holding)| holding.mark == 70), "{taken:?}");
    outbox::remember(&pool, &first, &all(80)).await.unwrap();
    let held = outbox::tend(&pool, owner, PATIENCE).await.unwrap().held;
    assert_eq!(held, taken.into_iter().collect(), "what a former holder writes late changes nothing");
}

#[tokio::test]
async fn claimed_rows_come_oldest_first_per_bucket_from_where_they_are_wanted() {
    let (database, _) = database("orders").await;
    let pool = outbox::connect(database.url(), "test").unwrap();
    let lease = everything(&pool, PATIENCE).await;
    let keys: Vec<Uuid> = (0..50).map(|_| Uuid::new_v4()).collect();
    for sequence in 1..=3 {
        for key in &keys {
            insert(&pool, *key, sequence).await;
        }
    }
    let rows = claim_all(&pool, &lease).await;
    assert_eq!(rows.len(), 150);
    assert!(rows.is_sorted_by_key(|row| row.row_id));
    let bucket = rows[0].row_id.bucket;
    let ids = |rows: &[Row]| -> Vec<i64> {
        rows.iter().filter(|row| row.row_id.bucket == bucket).map(|row| row.row_id.id).collect()
    };
    let there = ids(&rows);

    let start = [Start { bucket, after: there[0] }];
    let some = outbox::claim(&pool, &start, &there[1..2], &[], 1000).await.unwrap().rows;
    assert_eq!(ids(&some), there[2..], "neither what is before the start nor what is in hand");
    let apart = outbox::claim(&pool, &start, &[], &[rows[0].aggregate_id], 1000).await.unwrap().rows;
    assert!(apart.iter().all(|row| row.aggregate_id != rows[0].aggregate_id));
    let one = outbox::claim(&pool, &start, &[], &[], 1).await.unwrap().rows;
    assert_eq!(ids(&one), there[1..2]);
    let next = outbox::claim_key(&pool, bucket, rows[0].aggregate_id, there[0], 10).await.unwrap();
    assert_eq!(next.iter().map(|row| row.sequence).collect::<Vec<_>>(), [2, 3]);
}

#[tokio::test]
async fn a_claim_tells_which_transactions_it_could_not_see() {
    let (_database, pool) = database("orders").await;
    let mut open = pool.begin().await.unwrap();
    let id: String =
        sqlx::query_scalar("SELECT pg_current_xact_id()::text").fetch_one(&mut *open).await.unwrap();
    let id: u64 = id.parse().unwrap();
    let snapshot = outbox::claim(&pool, &[], &[], &[], 1).await.unwrap().snapshot;
    assert!(snapshot.has_open(id) && snapshot.next > id, "{snapshot:?}");
    open.commit().await.unwrap();
    assert!(!outbox::claim(&pool, &[], &[], &[], 1).await.unwrap().snapshot.has_open(id));
}

#[tokio::test]
async fn a_lease_that_was_taken_over_settles_nothing_and_gives_nothing_back() {
    let (_database, pool) = database("orders").await;
    insert(&pool, Uuid::new_v4(), 1).await;
    let old = everything(&pool, Duration::ZERO).await;
    let rows = claim_all(&pool, &old).await;
    let new = everything(&pool, PATIENCE).await;
    assert_eq!(new.len(), BUCKETS);
    assert!(everything(&pool, PATIENCE).await.is_empty(), "all buckets are held");

    let tended = outbox::tend(&pool, old.owner(), PATIENCE).await.unwrap();
    assert!(tended.held.is_empty() && tended.free == 0, "{tended:?}");
    assert_eq!(outbox::settle(&pool, &old, &[rows[0].row_id]).await.unwrap(), 0);
    outbox::give_back(&pool, &old).await.unwrap();
    let tended = outbox::tend(&pool, new.owner(), PATIENCE).await.unwrap();
    assert_eq!(tended.held.len(), BUCKETS, "a late release takes nothing from the new holder");
    assert_eq!(outbox::settle(&pool, &new, &[rows[0].row_id]).await.unwrap(), 1);
    assert!(claim_all(&pool, &new).await.is_empty());
}

#[tokio::test]
async fn what_is_settled_leaves_the_table_and_nothing_else_does() {
    let (_database, pool) = database("orders").await;
    for _ in 0..200 {
        insert(&pool, Uuid::new_v4(), 1).await;
    }
    let lease = everything(&pool, PATIENCE).await;
    let ids = |rows: Vec<Row>| rows.into_iter().map(|row| row.row_id).collect::<Vec<RowId>>();
    let all = ids(claim_all(&pool, &lease).await);
    let (settled, kept): (Vec<RowId>, Vec<RowId>) = all.into_iter().partition(|row| row.id % 3 == 0);
    // In no order, and some twice, as after an answer that got lost.
    let twice: Vec<RowId> = settled.iter().rev().chain(&settled[..10]).copied().collect();
    assert_eq!(outbox::settle(&pool, &lease, &twice).await.unwrap(), settled.len() as u64);
    assert_eq!(ids(claim_all(&pool, &lease).await), kept);
}

#[tokio::test]
async fn a_relay_that_leaves_frees_its_buckets_at_once_and_says_so() {
    let (_database, pool) = database("orders").await;
    let mut listener = PgListener::connect_with(&pool).await.unwrap();
    listener.listen(outbox::CHANNEL).await.unwrap();
    let lease = everything(&pool, PATIENCE).await;
    let part = lease.part(&[3, 5]);
    outbox::give_back(&pool, &part).await.unwrap();
    assert_eq!(listener.recv().await.unwrap().payload(), outbox::LEASES);
    assert_eq!(everything(&pool, PATIENCE).await.buckets().collect::<Vec<_>>(), [3, 5]);

    outbox::leave(&pool, lease.owner()).await.unwrap();
    assert_eq!(listener.recv().await.unwrap().payload(), outbox::LEASES);
    assert_eq!(everything(&pool, PATIENCE).await.len(), BUCKETS - 2);
}

#[tokio::test]
async fn a_thousand_pokes_are_a_few_notifications_and_a_poke_costs_its_caller_nothing() {
    let (database, pool) = database("orders").await;
    let mut listener = PgListener::connect_with(&pool).await.unwrap();
    listener.listen(outbox::CHANNEL).await.unwrap();
    let (poke, poker) = Poke::new(database.url(), "test").unwrap();
    // Nobody carries them out yet: they neither wait nor pile up.
    for _ in 0..1000 {
        poke.poke();
    }
    drop(poke);
    poker.run().await;
    assert_eq!(listener.recv().await.unwrap().payload(), "");
    // The next thing that is heard was said after all pokes.
    sqlx::query("SELECT pg_notify('outbox', 'end')").execute(&pool).await.unwrap();
    assert_eq!(listener.recv().await.unwrap().payload(), "end");
}

#[tokio::test]
async fn without_a_database_pokes_are_lost_and_nothing_else() {
    let (poke, poker) = Poke::new("postgres://nobody:nobody@127.0.0.1:1/nothing", "test").unwrap();
    let poker = tokio::spawn(poker.run());
    for _ in 0..1000 {
        poke.poke();
    }
    drop(poke);
    eventually("the poker ends", async || if poker.is_finished() { Ok(()) } else { Err("it runs") }).await;
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
async fn how_much_waits_and_how_old_the_oldest_is_leaves_out_what_an_operator_has_to_look_at() {
    let (database, _) = database("orders").await;
    let pool = outbox::connect(database.url(), "test").unwrap();
    assert_eq!(outbox::depth(&pool).await.unwrap(), outbox::Depth { rows: 0, oldest_seconds: 0.0 });
    let age = async |key: Uuid, age: &str| {
        insert(&pool, key, 1).await;
        sqlx::query("UPDATE outbox SET created_at = now() - $2::text::interval WHERE aggregate_id = $1")
            .bind(key)
            .bind(age)
            .execute(&pool)
            .await
            .unwrap();
    };
    let blocked = Uuid::new_v4();
    age(Uuid::new_v4(), "1 hour").await;
    age(Uuid::new_v4(), "10 seconds").await;
    age(blocked, "5 hours").await;
    let lease = everything(&pool, PATIENCE).await;
    let row = claim_all(&pool, &lease).await.into_iter().find(|row| row.aggregate_id == blocked).unwrap();
    outbox::block(&pool, &lease, &row, "refused").await.unwrap();
    let depth = outbox::depth(&pool).await.unwrap();
    assert_eq!(depth.rows, 2);
    assert!((3600.0..5.0 * 3600.0).contains(&depth.oldest_seconds), "{depth:?}");
    // Of one bucket no more are counted than stay cheap.
    sqlx::query(
        "INSERT INTO outbox (topic, aggregate_id, sequence, event_id, event_type, source, payload)
         SELECT 'things', $1, n, gen_random_uuid(), 'ThingHappened', '/tests', '{}' FROM generate_series(1, 1500) AS n",
    )
    .bind(Uuid::nil())
    .execute(&pool)
    .await
    .unwrap();
    let rows = outbox::depth(&pool).await.unwrap().rows;
    assert!((1000..=1002).contains(&rows), "{rows}");
}
