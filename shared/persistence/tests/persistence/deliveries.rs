//! Deliveries that are noted together.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::future::join_all;
use persistence::deliveries::{Deliveries, Taken};
use persistence::errors;
use persistence::grouped::NotDone;
use persistence::inbox::{Arrival, Event};
use persistence::sql::SharedError;
use sqlx::PgPool;
use uuid::Uuid;

use crate::inbox::event;
use crate::{database, patient_database};

fn start(pool: &PgPool) -> Deliveries {
    let (deliveries, work) = Deliveries::new(pool, 1000);
    tokio::spawn(work);
    deliveries
}

fn taken(event: Event) -> Taken {
    Taken { event, order_id: Uuid::new_v4(), message_id: format!("<{}@test>", event.id) }
}

/// All at once, so that most go together.
async fn note_all(deliveries: &Deliveries, all: &[Taken]) -> Vec<Result<Arrival, SharedError>> {
    join_all(all.iter().map(|taken| deliveries.note(taken.clone()))).await
}

async fn noted(pool: &PgPool) -> BTreeMap<Uuid, Uuid> {
    let rows: Vec<(Uuid, Uuid)> =
        sqlx::query_as("SELECT event_id, order_id FROM deliveries JOIN inbox USING (event_id)")
            .fetch_all(pool)
            .await
            .unwrap();
    rows.into_iter().collect()
}

async fn rows(pool: &PgPool, table: &str) -> i64 {
    let count = sqlx::AssertSqlSafe(format!("SELECT count(*) FROM {table}"));
    sqlx::query_scalar(count).fetch_one(pool).await.unwrap()
}

#[tokio::test]
async fn each_event_is_told_what_it_is_whatever_goes_with_it() {
    let (_database, pool) = database("email").await;
    let horizon: DateTime<Utc> = sqlx::query_scalar(
        "UPDATE inbox_horizon SET pruned_up_to = now() - interval '1 day' RETURNING pruned_up_to",
    )
    .fetch_one(&pool)
    .await
    .unwrap();
    let deliveries = start(&pool);
    let known = taken(event());
    assert_eq!(deliveries.note(known.clone()).await.unwrap(), Arrival::First);
    let old = |beyond_horizon| taken(Event { occurred_at: horizon, beyond_horizon, ..event() });
    let all = [taken(event()), known.clone(), old(false), old(true), taken(event())];

    let looked = join_all(all.iter().map(|one| deliveries.arrival(one.event))).await;
    let arrivals = note_all(&deliveries, &all).await;
    for arrivals in [looked, arrivals] {
        let arrivals: Vec<Arrival> = arrivals.into_iter().map(Result::unwrap).collect();
        assert!(
            matches!(
                arrivals.as_slice(),
                [Arrival::First, Arrival::Repeat, Arrival::BeyondHorizon(_), Arrival::First, Arrival::First]
            ),
            "{arrivals:?}"
        );
    }
    let expected = [&all[0], &known, &all[3], &all[4]].map(|one| (one.event.id, one.order_id));
    assert_eq!(noted(&pool).await, BTreeMap::from(expected));
    assert_eq!((rows(&pool, "inbox").await, rows(&pool, "deliveries").await), (4, 4));
}

#[tokio::test]
async fn of_twins_in_one_group_the_one_that_came_first_is_noted() {
    let (_database, pool) = database("email").await;
    let deliveries = start(&pool);
    // Something ahead of them, so that they meet.
    let mut all = vec![taken(event())];
    for _ in 0..20 {
        let twin = event();
        all.extend([taken(twin), taken(event()), taken(twin), taken(twin)]);
    }
    let arrivals = note_all(&deliveries, &all).await;
    let noted = noted(&pool).await;
    for (one, arrival) in all.iter().zip(arrivals) {
        let is_noted = noted[&one.event.id] == one.order_id;
        assert_eq!(arrival.unwrap(), if is_noted { Arrival::First } else { Arrival::Repeat });
    }
    assert_eq!(noted.len(), 41);
    let first = all.iter().rev().map(|one| (one.event.id, one.order_id)).collect::<BTreeMap<_, _>>();
    assert_eq!(noted, first, "of each the first");
}

#[tokio::test]
async fn a_row_that_the_database_refuses_is_told_so_and_nobody_else_suffers() {
    let (_database, pool) = database("email").await;
    let deliveries = start(&pool);
    let mut all: Vec<Taken> = (0..50).map(|_| taken(event())).collect();
    // PostgreSQL keeps no text with a zero byte.
    all[20].message_id = "a\0b".to_owned();
    // Its delivery was noted, and its row in the inbox was pruned since.
    sqlx::query("INSERT INTO deliveries (event_id, order_id, message_id) VALUES ($1, $2, 'before')")
        .bind(all[30].event.id)
        .bind(all[30].order_id)
        .execute(&pool)
        .await
        .unwrap();
    for (place, arrival) in note_all(&deliveries, &all).await.into_iter().enumerate() {
        match arrival {
            Ok(arrival) => assert!(arrival == Arrival::First && ![20, 30].contains(&place), "{place}"),
            Err(SharedError::Database(error)) => {
                assert!(errors::is_fault_of_the_data(&error), "{error}");
                assert!([20, 30].contains(&place), "{place}: {error}");
            }
            Err(other) => panic!("{place}: {other}"),
        }
    }
    assert_eq!(noted(&pool).await.len(), 48);
    assert_eq!(rows(&pool, "inbox").await, 48, "neither row of what was refused");
}

#[tokio::test]
async fn processes_that_note_the_same_events_in_opposite_orders_never_deadlock_and_each_event_is_noted_once()
{
    let (_database, pool) = patient_database("email").await;
    let processes = Arc::new([start(&pool), start(&pool), start(&pool)]);
    let events: Vec<Event> = (0..400).map(|_| event()).collect();
    let tasks = (0..3).map(|process| {
        let processes = processes.clone();
        let mut mine: Vec<Taken> = events.iter().copied().map(taken).collect();
        match process {
            0 => {}
            1 => mine.reverse(),
            _ => mine.rotate_left(150),
        }
        tokio::spawn(async move {
            let arrivals = note_all(&processes[process], &mine).await;
            arrivals.into_iter().map(Result::unwrap).filter(|arrival| *arrival == Arrival::First).count()
        })
    });
    let first: usize = join_all(tasks).await.into_iter().map(Result::unwrap).sum();
    assert_eq!(first, 400);
    assert_eq!(noted(&pool).await.len(), 400);
}

#[tokio::test]
async fn without_the_database_all_that_wait_are_told_within_the_time_that_one_would_wait() {
    let nowhere = format!("postgres://email:email@127.0.0.1:{}/email", testkit::free_port());
    let pool = persistence::pool::connect_lazy(&nowhere, 1, "test").unwrap();
    let deliveries = start(&pool);
    let all: Vec<Taken> = (0..100).map(|_| taken(event())).collect();
    // 4 s for a turn and 4 s for a connection, at most, and the rest for a busy machine.
    let bound = Duration::from_secs(12);
    let told = tokio::time::timeout(bound, note_all(&deliveries, &all)).await.expect("told in time");
    let mut found_away = 0;
    for error in told.into_iter().map(Result::unwrap_err) {
        match error {
            SharedError::NotDone(NotDone::Late(_)) => {}
            SharedError::Database(error) if errors::is_unavailable(&error) => found_away += 1,
            other => panic!("{other}"),
        }
    }
    assert!(found_away > 0, "the first has its turn at once, so somebody has looked for the database");
}
