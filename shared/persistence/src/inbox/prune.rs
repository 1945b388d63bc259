//! Forgetting old events, in small steps, without ever taking one for new.
//!
//! The danger is a statement that read the old horizon and comes to the row of an old event when that row is deleted: `INSERT .. ON
//! CONFLICT DO NOTHING` would wait for the deletion, find nothing, and insert the event as new. So nothing is deleted while such a
//! statement runs:
//!
//! 1. [`raise_horizon`] writes the new horizon in a transaction of its own, whose id is `R`.
//! 2. [`Raised::known`] waits for old snapshots. A statement that does not see `R` as committed has a snapshot whose `xmin`, the oldest
//!    transaction that it takes for running, is not above `R`. PostgreSQL publishes it in the same moment in which the snapshot is taken,
//!    as `pg_stat_activity.backend_xmin`. So once no session shows an `xmin` up to `R`, every statement that runs, and every later one,
//!    sees the new horizon. This rests on no clock and blocks nobody; a long write transaction on the server holds it up, and nothing else.
//!    A role sees the sessions of its own role, and no other role writes the inbox.
//! 3. [`prune_step`] deletes what is not newer, some pages at a time.
//!
//! A row that was inserted under the old horizon, by a transaction that has not committed yet, is not seen by the deletion and goes with
//! the next round.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::PgPool;
use sqlx::postgres::types::PgInterval;

/// Pages (of 8 KiB) that a step looks at: some ten thousand rows at most, deleted in a fraction of a second.
pub const PAGES_PER_STEP: u32 = 128;

/// A horizon that is written and that a running statement may still not know.
#[derive(Clone, Debug)]
pub struct Raised {
    pruned_up_to: DateTime<Utc>,
    /// The id of the transaction that wrote it.
    by: String,
}

/// A horizon that every statement knows.
#[derive(Clone, Copy, Debug)]
pub struct Horizon(DateTime<Utc>);

/// What a step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Rows that it deleted.
    pub removed: u64,
    /// Where the next one begins; `None` at the end of the table.
    pub next_page: Option<u32>,
}

/// Moves the horizon to `keep` ago; it never moves back. `None`: somebody has done so within the time `rest`, and prunes or has pruned. So
/// one process of a group prunes at a time, and what one that died left is pruned after the next `rest`.
pub async fn raise_horizon(
    pool: &PgPool,
    keep: Duration,
    rest: Duration,
) -> Result<Option<Raised>, sqlx::Error> {
    let raised = sqlx::query!(
        r#"UPDATE inbox_horizon SET pruned_up_to = greatest(pruned_up_to, now() - $1::interval), raised_at = now()
           WHERE raised_at <= now() - $2::interval
           RETURNING pruned_up_to, pg_current_xact_id()::text AS "by!""#,
        interval(keep)?,
        interval(rest)?
    )
    .fetch_optional(pool)
    .await?;
    Ok(raised.map(|raised| Raised { pruned_up_to: raised.pruned_up_to, by: raised.by }))
}

fn interval(duration: Duration) -> Result<PgInterval, sqlx::Error> {
    // Whole milliseconds: an interval has no nanoseconds, and refuses them.
    let duration = Duration::from_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX));
    PgInterval::try_from(duration).map_err(sqlx::Error::Encode)
}

impl Raised {
    /// The horizon, if no statement runs any more that may not know it. Else ask again later.
    pub async fn known(&self, pool: &PgPool) -> Result<Option<Horizon>, sqlx::Error> {
        // `age` counts back from now and is right across the wraparound of the numbers: older or equal means not above.
        let known = sqlx::query_scalar!(
            r#"SELECT NOT EXISTS (
                   SELECT 1 FROM pg_stat_activity
                   WHERE datname = current_database() AND pid <> pg_backend_pid()
                     AND age(backend_xmin) >= age($1::text::xid8::xid)
               ) AS "known!""#,
            &self.by
        )
        .fetch_one(pool)
        .await?;
        Ok(known.then_some(Horizon(self.pruned_up_to)))
    }

    /// When it is.
    pub fn pruned_up_to(&self) -> DateTime<Utc> {
        self.pruned_up_to
    }
}

/// Deletes what is not newer than the horizon from `pages` pages of the table, beginning with `first_page`. It reads these pages only,
/// without an index: the inbox has none by time, since every insert would pay for it.
pub async fn prune_step(
    pool: &PgPool,
    horizon: Horizon,
    first_page: u32,
    pages: u32,
) -> Result<Step, sqlx::Error> {
    let end = first_page.saturating_add(pages);
    let removed = sqlx::query!(
        "DELETE FROM inbox WHERE ctid >= $1::text::tid AND ctid < $2::text::tid AND occurred_at <= $3",
        format!("({first_page},0)"),
        format!("({end},0)"),
        horizon.0
    )
    .execute(pool)
    .await?
    .rows_affected();
    let size: i64 = sqlx::query_scalar!(
        r#"SELECT pg_relation_size('inbox') / current_setting('block_size')::bigint AS "pages!""#
    )
    .fetch_one(pool)
    .await?;
    Ok(Step { removed, next_page: (i64::from(end) < size).then_some(end) })
}
