//! Ladders on a real Postgres: what is written, and what the watcher notes.

use std::collections::HashMap;

use chrono::Utc;
use contracts::Envelope;
use loadtest::ladders::consumer::Watcher;
use loadtest::ladders::{Rung, TOPIC, climb, compare};
use messaging::consumer::{Answer, Delivery, Handler};
use testkit::{PATIENCE, Servers, eventually};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

fn rung(ladder: Uuid, sequence: i64) -> Envelope<Rung> {
    Envelope::new("RungClimbed", "/tests", ladder, sequence, Utc::now(), Rung {})
}

fn delivery() -> Delivery {
    Delivery { topic: TOPIC.into(), attempt: 1, ..Delivery::default() }
}

#[tokio::test]
async fn every_ladder_ends_with_ten_rungs_at_least_and_its_outbox_ids_are_in_their_order() {
    let database = Servers::shared().await.database("orders").await.migrated().await;
    let pool = database.pool().await;
    sqlx::query("CREATE TABLE chaos_ladders (id uuid PRIMARY KEY, last_sequence bigint NOT NULL)")
        .execute(&pool)
        .await
        .unwrap();
    let stop = CancellationToken::new();
    let some = async {
        eventually("some rungs", async || {
            let rungs: i64 =
                sqlx::query_scalar("SELECT count(*) FROM outbox").fetch_one(&pool).await.unwrap();
            if rungs >= 100 { Ok(()) } else { Err(rungs.to_string()) }
        })
        .await;
        stop.cancel();
    };
    let (acknowledged, ()) = tokio::join!(climb::climb(&pool, 1, 1000.0, &stop), some);
    let heights = climb::finish(&pool, PATIENCE).await.unwrap();
    assert!(heights.values().all(|height| *height >= climb::LEAST_RUNGS), "{heights:?}");
    assert!(acknowledged.iter().all(|(ladder, rung)| *rung <= heights[ladder]));

    let rows: Vec<(Uuid, i64)> = sqlx::query_as("SELECT aggregate_id, sequence FROM outbox ORDER BY id")
        .fetch_all(&pool)
        .await
        .unwrap();
    let mut last: HashMap<Uuid, i64> = HashMap::new();
    for (ladder, sequence) in rows {
        assert_eq!(last.insert(ladder, sequence).unwrap_or(0) + 1, sequence);
    }
    assert_eq!(last, heights);
}

#[tokio::test]
async fn the_watcher_notes_first_deliveries_as_they_come_and_repeats_apart() {
    // Any role of a service will do: the role `chaos` exists in stacks of chaos runs only.
    let database = Servers::shared().await.database("email").await;
    let pool = database.pool().await;
    let watcher = Watcher::new(pool.clone()).await.unwrap();
    let ladder = Uuid::new_v4();
    for sequence in [1, 3, 1, 2] {
        assert_eq!(watcher.handle(&rung(ladder, sequence), &delivery()).await, Answer::Ok);
    }
    let committed = [(ladder, 3)].into();
    let notes = compare::read(&pool, &committed, PATIENCE).await.unwrap();
    assert_eq!(notes.arrivals[&ladder], [1, 3, 2]);
    assert_eq!(notes.repeats, [(ladder, 1, contracts::event_id(ladder, 1))]);
    let row = compare::compare(&committed, &committed, &notes);
    assert_eq!((row.missing, row.doubled, row.out_of_order, row.repeated), (0, 0, 1, 1));
}

#[test]
fn the_watchers_inbox_is_the_one_of_every_consumer() {
    let script = |folder: &str, file: &str| {
        std::fs::read_to_string(testkit::workspace_root().join(folder).join(file)).unwrap()
    };
    for file in ["0001_inbox.sql", "0003_horizon.sql"] {
        assert_eq!(script("loadtest/migrations", file), script("migrations/email", file), "{file}");
    }
}
