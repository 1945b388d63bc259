//! Commit order is not id order, and somebody may keep a transaction open.

use testkit::eventually;
use uuid::Uuid;

use crate::fixture::Fixture;

/// A transaction that may stay open for as long as this test and others on the same server take, which is maybe longer than the role may be idle.
async fn begin_patiently(fixture: &Fixture) -> sqlx::PgTransaction<'static> {
    let mut slow = fixture.pool.begin().await.unwrap();
    sqlx::query("SET LOCAL idle_in_transaction_session_timeout = 0").execute(&mut *slow).await.unwrap();
    slow
}

#[tokio::test]
async fn a_row_that_commits_after_rows_with_higher_ids_is_published_too() {
    let fixture = Fixture::new().await;
    let mut slow = begin_patiently(&fixture).await;
    let late = Uuid::now_v7();
    fixture.insert_in(&mut slow, late, 1, "{}").await;
    for _ in 0..100 {
        fixture.insert(Uuid::now_v7(), 1, "{}").await;
    }
    let relay = fixture.patient_relay();
    assert!(fixture.read(100).await.iter().all(|record| record.key != late.to_string()));
    slow.commit().await.unwrap();
    fixture.until_empty().await;
    relay.stop().await;
    assert!(fixture.read_all().await.iter().any(|record| record.key == late.to_string()));
}

#[tokio::test]
async fn later_events_of_a_key_do_not_overtake_one_that_was_committed_late() {
    let fixture = Fixture::new().await;
    let relay = fixture.patient_relay();
    let (late, other) = (Uuid::now_v7(), Uuid::now_v7());
    for round in 0..10 {
        // The transaction has an id before its row has one, as with every writer that locks the aggregate first.
        let mut slow = begin_patiently(&fixture).await;
        sqlx::query("SELECT pg_current_xact_id()::text").execute(&mut *slow).await.unwrap();
        fixture.insert_in(&mut slow, late, 2 * round + 1, "{}").await;
        // The relay reads past it, for longer than a transaction counts as young in every other round.
        fixture.insert(other, round + 1, "{}").await;
        fixture.read(1).await;
        if round % 2 == 0 {
            sqlx::query("SELECT pg_sleep(0.15)").execute(&fixture.pool).await.unwrap();
        }
        slow.commit().await.unwrap();
        fixture.insert(late, 2 * round + 2, "{}").await;
        fixture.read(2).await;
    }
    fixture.until_empty().await;
    relay.stop().await;
    let seen: Vec<i64> = fixture
        .read_all()
        .await
        .iter()
        .filter(|record| record.key == late.to_string())
        .map(|record| record.headers["ce_sequence"].parse().unwrap())
        .collect();
    assert_eq!(seen, (1..=20).collect::<Vec<i64>>());
}

#[tokio::test]
async fn who_takes_over_begins_where_the_one_before_was_and_misses_nothing_that_is_committed_later() {
    let fixture = Fixture::new().await;
    let late = Uuid::now_v7();
    for round in 0..3 {
        let relay = fixture.relay();
        // Some in every bucket.
        let others: Vec<Uuid> = (0..1500).map(|_| Uuid::now_v7()).collect();
        let before: i64 = sqlx::query_scalar("SELECT last_value FROM outbox_id_seq")
            .fetch_one(&fixture.pool)
            .await
            .unwrap();
        fixture.insert_for_all(&others, 1).await;
        fixture.until_empty().await;
        let mut slow = begin_patiently(&fixture).await;
        sqlx::query("SELECT pg_current_xact_id()::text").execute(&mut *slow).await.unwrap();
        fixture.insert_in(&mut slow, late, 2 * round + 1, "{}").await;
        fixture.insert_for_all(&others, 2).await;
        fixture.until_empty().await;
        let open = lowest_open_row(&mut slow).await;
        eventually("all buckets are marked", async || {
            let marks: Vec<i64> =
                sqlx::query_scalar("SELECT mark FROM outbox_lease").fetch_all(&fixture.pool).await.unwrap();
            assert!(marks.iter().all(|mark| *mark < open), "a mark beyond row {open}: {marks:?}");
            if marks.iter().all(|mark| *mark > before) { Ok(()) } else { Err(format!("{marks:?}")) }
        })
        .await;
        relay.kill();
        let next = fixture.patient_relay();
        slow.commit().await.unwrap();
        fixture.insert(late, 2 * round + 2, "{}").await;
        fixture.until_empty().await;
        next.stop().await;
    }
    let of_late: Vec<i64> = fixture
        .read_all()
        .await
        .iter()
        .filter(|record| record.key == late.to_string())
        .map(|record| record.headers["ce_sequence"].parse().unwrap())
        .collect();
    assert_eq!(of_late, (1..=6).collect::<Vec<i64>>());
}

async fn lowest_open_row(transaction: &mut sqlx::PgConnection) -> i64 {
    sqlx::query_scalar(
        "SELECT min(id) FROM outbox WHERE xmin::text::bigint = pg_current_xact_id()::text::bigint",
    )
    .fetch_one(transaction)
    .await
    .unwrap()
}

#[tokio::test]
async fn a_transaction_that_somebody_keeps_open_keeps_nothing_from_being_published() {
    let fixture = Fixture::new().await;
    // A superuser's: no time-out of a service's role ends it. It has written, so it holds back what statements may see as past.
    let mut open = fixture.superuser().await;
    sqlx::raw_sql("BEGIN; CREATE TABLE elsewhere (n integer)").execute(&mut open).await.unwrap();
    let relay = fixture.patient_relay();
    for batch in 0..5 {
        sqlx::query(
            "INSERT INTO outbox (topic, aggregate_id, sequence, event_id, event_type, source, payload)
             SELECT $1, gen_random_uuid(), 1, gen_random_uuid(), 'ThingHappened', '/tests', '{}' FROM generate_series(1, 4000)",
        )
        .bind(fixture.topic())
        .execute(&fixture.pool)
        .await
        .unwrap();
        fixture.until_empty().await;
        assert_eq!(fixture.read_all().await.len(), 4000 * (batch + 1), "each once");
    }
    sqlx::raw_sql("ROLLBACK").execute(&mut open).await.unwrap();
    fixture.insert(Uuid::now_v7(), 1, "{}").await;
    fixture.until_empty().await;
    relay.stop().await;
}
