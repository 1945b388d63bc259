//! What the inbox has forgotten, and how it forgets.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use persistence::inbox::{self, Arrival, BeyondHorizon, Event, Horizon, Raised};
use sqlx::PgPool;
use testkit::eventually;

use crate::database;
use crate::inbox::{arrive, event};

const HOUR: Duration = Duration::from_secs(3600);

fn hours_old(hours: i64) -> Event {
    Event { occurred_at: Utc::now() - TimeDelta::hours(hours), ..event() }
}

/// Moves the horizon to an hour ago.
async fn raise(pool: &PgPool) -> Raised {
    inbox::raise_horizon(pool, HOUR, Duration::ZERO).await.unwrap().unwrap()
}

async fn known(pool: &PgPool, raised: &Raised) -> Horizon {
    eventually("everybody knows the horizon", async || {
        raised.known(pool).await.unwrap().ok_or("somebody does not")
    })
    .await
}

/// Forgets what is older than an hour; returns how much that was.
async fn prune(pool: &PgPool) -> u64 {
    let horizon = known(pool, &raise(pool).await).await;
    let (mut removed, mut page) = (0, Some(0));
    while let Some(first_page) = page {
        let step = inbox::prune_step(pool, horizon, first_page, inbox::PAGES_PER_STEP).await.unwrap();
        removed += step.removed;
        page = step.next_page;
    }
    removed
}

async fn arrive_alone(pool: &PgPool, event: Event) -> Arrival {
    let mut transaction = pool.begin().await.unwrap();
    let arrival = inbox::first_delivery(&mut transaction, event).await.unwrap();
    transaction.commit().await.unwrap();
    arrival
}

fn beyond(event: Event, horizon: DateTime<Utc>) -> Arrival {
    Arrival::BeyondHorizon(BeyondHorizon { occurred_at: event.occurred_at, horizon })
}

#[tokio::test]
async fn an_unknown_event_is_new_only_if_it_is_newer_than_the_horizon() {
    let (_database, pool) = database("email").await;
    let applied = hours_old(2);
    assert_eq!(arrive_alone(&pool, applied).await, Arrival::First, "nothing was pruned yet");
    let horizon = raise(&pool).await.pruned_up_to();

    let (old, new) = (hours_old(2), event());
    let cases = [(old, beyond(old, horizon)), (applied, Arrival::Repeat), (new, Arrival::First)];
    for (event, expected) in cases {
        assert_eq!(inbox::arrival(&pool, event).await.unwrap(), expected);
        assert_eq!(arrive_alone(&pool, event).await, expected);
    }
    let Arrival::BeyondHorizon(why) = arrive_alone(&pool, old).await else { panic!("it was noted") };
    let reason = why.to_string();
    assert!(reason.starts_with("beyond-horizon: the event is of ") && reason.contains("after "), "{reason}");
}

#[tokio::test]
async fn a_batch_is_told_of_each_event_what_it_is() {
    let (_database, pool) = database("email").await;
    let applied = hours_old(2);
    arrive(&pool, &[applied]).await;
    let horizon = raise(&pool).await.pruned_up_to();
    let (old, new) = (hours_old(2), event());
    let arrivals = arrive(&pool, &[old, new, applied, new]).await;
    let expected = [beyond(old, horizon), Arrival::First, Arrival::Repeat, Arrival::Repeat];
    assert_eq!(arrivals, expected);
    assert_eq!(Arrival::beyond_horizon(&arrivals).map(|why| why.occurred_at), Some(old.occurred_at));
    assert_eq!(Arrival::beyond_horizon(&expected[1..]), None);
}

#[tokio::test]
async fn what_an_operator_allows_beyond_the_horizon_is_new_once_and_remembered_as_long_as_anything_else() {
    let (_database, pool) = database("email").await;
    raise(&pool).await;
    let [alone, batched] = [hours_old(2), hours_old(2)].map(|event| Event { beyond_horizon: true, ..event });
    assert_eq!(inbox::arrival(&pool, alone).await.unwrap(), Arrival::First);
    assert_eq!(arrive_alone(&pool, alone).await, Arrival::First);
    assert_eq!(arrive(&pool, &[batched, batched]).await, [Arrival::First, Arrival::Repeat]);
    // Under the time of the event this would forget both, and the next replay would apply them again.
    assert_eq!(prune(&pool).await, 0);
    assert_eq!(inbox::arrival(&pool, alone).await.unwrap(), Arrival::Repeat);
    assert_eq!(arrive_alone(&pool, alone).await, Arrival::Repeat);
    assert_eq!(arrive(&pool, &[batched]).await, [Arrival::Repeat]);
}

#[tokio::test]
async fn nothing_is_forgotten_while_somebody_may_still_go_by_the_old_horizon() {
    let (_database, pool) = database("email").await;
    let old = hours_old(2);
    arrive(&pool, &[old]).await;
    // A statement that read the horizon and was then held up, for as long as we like: its snapshot is that of its transaction.
    let mut held_up = pool.begin().await.unwrap();
    sqlx::query("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ").execute(&mut *held_up).await.unwrap();
    sqlx::query("SELECT FROM inbox_horizon").execute(&mut *held_up).await.unwrap();

    let raised = raise(&pool).await;
    assert!(raised.known(&pool).await.unwrap().is_none(), "it would be deleted under the statement");
    // Were the row gone, this would be a first delivery by the horizon that it knows.
    assert_eq!(inbox::first_delivery(&mut held_up, old).await.unwrap(), Arrival::Repeat);
    held_up.commit().await.unwrap();

    let horizon = known(&pool, &raised).await;
    let step = inbox::prune_step(&pool, horizon, 0, inbox::PAGES_PER_STEP).await.unwrap();
    assert_eq!(step.removed, 1);
    assert_eq!(arrive_alone(&pool, old).await, beyond(old, raised.pruned_up_to()));
}

#[tokio::test]
async fn a_delivery_that_waits_for_the_row_of_its_event_holds_the_pruning_up() {
    let (_database, pool) = database("email").await;
    let old = hours_old(2);
    arrive(&pool, &[old]).await;
    let mut deleting = pool.begin().await.unwrap();
    sqlx::query("DELETE FROM inbox").execute(&mut *deleting).await.unwrap();
    let waiting = tokio::spawn({
        let pool = pool.clone();
        async move {
            let mut transaction = pool.begin().await.unwrap();
            // It waits for as long as this test does, and not for as long as its role may.
            let patient = "SET LOCAL lock_timeout = 0; SET LOCAL statement_timeout = 0";
            sqlx::raw_sql(patient).execute(&mut *transaction).await.unwrap();
            let arrival = inbox::first_delivery(&mut transaction, old).await.unwrap();
            transaction.commit().await.unwrap();
            arrival
        }
    });
    eventually("the delivery waits", async || {
        let waits =
            "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
        sqlx::query(waits).fetch_one(&pool).await
    })
    .await;
    // Were the deletion to commit, the delivery would insert the row: it goes by the horizon that it has read.
    let raised = raise(&pool).await;
    assert!(raised.known(&pool).await.unwrap().is_none());
    deleting.rollback().await.unwrap();
    assert_eq!(waiting.await.unwrap(), Arrival::Repeat);
    known(&pool, &raised).await;
}

#[tokio::test]
async fn pruning_removes_what_is_old_some_pages_at_a_time_and_nothing_else() {
    let (_database, pool) = database("email").await;
    sqlx::query(
        "INSERT INTO inbox (event_id, occurred_at)
         SELECT gen_random_uuid(), now() - make_interval(hours => n % 2 * 2) FROM generate_series(1, 6000) AS n",
    )
    .execute(&pool)
    .await
    .unwrap();
    let horizon = known(&pool, &raise(&pool).await).await;
    let (mut steps, mut page) = (Vec::new(), Some(0));
    while let Some(first_page) = page {
        let step = inbox::prune_step(&pool, horizon, first_page, 4).await.unwrap();
        assert!(step.next_page.is_none_or(|next| next == first_page + 4), "{step:?}");
        steps.push(step.removed);
        page = step.next_page;
    }
    // A page of 8 KiB holds at most 136 of these rows.
    assert!(steps.len() >= 11 && steps.iter().all(|removed| *removed <= 4 * 136), "{steps:?}");
    assert_eq!(steps.iter().sum::<u64>(), 3000);
    let left: (i64, i64) = sqlx::query_as(
        "SELECT count(*), count(*) FILTER (WHERE occurred_at > now() - interval '1 hour') FROM inbox",
    )
    .fetch_one(&pool)
    .await
    .unwrap();
    assert_eq!(left, (3000, 3000));
}

#[tokio::test]
async fn a_step_reads_its_own_pages_and_needs_no_index() {
    let (_database, pool) = database("email").await;
    let plan: Vec<String> = sqlx::query_scalar(
        "EXPLAIN DELETE FROM inbox WHERE ctid >= $1::text::tid AND ctid < $2::text::tid AND occurred_at <= now()",
    )
    .bind("(0,0)")
    .bind("(128,0)")
    .fetch_all(&pool)
    .await
    .unwrap();
    assert!(plan.iter().any(|line| line.contains("Tid Range Scan on inbox")), "{plan:#?}");
}

#[tokio::test]
async fn one_process_of_a_group_prunes_at_a_time_and_the_horizon_never_moves_back() {
    let (_database, pool) = database("email").await;
    let raise = async |keep, rest| inbox::raise_horizon(&pool, keep, rest).await.unwrap();
    let first = raise(HOUR, HOUR).await.unwrap().pruned_up_to();
    assert!(raise(HOUR, HOUR).await.is_none(), "somebody else is at it");
    let again = raise(2 * HOUR, Duration::ZERO).await.unwrap().pruned_up_to();
    assert_eq!(again, first);
}
