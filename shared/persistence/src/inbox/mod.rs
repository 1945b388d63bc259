//! Which events a consumer has applied, and how far back it remembers them.
//!
//! The inbox is pruned, so an event that it does not hold is new only if it occurred after the horizon, the time up to which rows may
//! have been pruned. What is not newer and not there may have been applied once: it is [`Arrival::BeyondHorizon`], and only an
//! operator can say that it is to be applied ([`Event::beyond_horizon`]).

mod prune;

use std::collections::HashSet;
use std::fmt;

use chrono::{DateTime, SecondsFormat, Utc};
use sqlx::{PgConnection, PgExecutor, PgPool};
use uuid::Uuid;

use crate::sql::Traced;

pub use prune::{Horizon, PAGES_PER_STEP, Raised, Step, prune_step, raise_horizon};

/// What the inbox has to know of an event.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    /// Its id, the same in every delivery.
    pub id: Uuid,
    /// When it was decided, the same in every delivery.
    pub occurred_at: DateTime<Utc>,
    /// An operator said that it may be applied although the inbox may have forgotten it.
    pub beyond_horizon: bool,
}

/// What a delivery of an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// It was not applied before.
    First,
    /// Its effect is committed already: do nothing.
    Repeat,
    /// Nobody knows: do nothing, and let an operator decide.
    BeyondHorizon(BeyondHorizon),
}

/// Why it is not known whether an event was applied. The text is the reason of a dead letter and begins with `beyond-horizon`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BeyondHorizon {
    /// When the event was decided.
    pub occurred_at: DateTime<Utc>,
    /// Up to when the inbox may have forgotten.
    pub horizon: DateTime<Utc>,
}

impl fmt::Display for BeyondHorizon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = |time: DateTime<Utc>| time.to_rfc3339_opts(SecondsFormat::Micros, true);
        write!(
            f,
            "beyond-horizon: the event is of {}, and the inbox remembers only what came after {}",
            time(self.occurred_at),
            time(self.horizon)
        )
    }
}

impl Arrival {
    /// The first of `arrivals` that nobody can decide.
    pub fn beyond_horizon(arrivals: &[Self]) -> Option<BeyondHorizon> {
        arrivals.iter().find_map(|arrival| match arrival {
            Self::BeyondHorizon(beyond) => Some(*beyond),
            Self::First | Self::Repeat => None,
        })
    }
}

/// Notes the event in the caller's transaction if this is its first delivery; the effect belongs into the same transaction. What was
/// allowed beyond the horizon is noted under the present time, or the next pruning would forget it at once.
pub async fn first_delivery(transaction: &mut PgConnection, event: Event) -> Result<Arrival, sqlx::Error> {
    // The horizon is read by the statement that inserts, so that no pruning fits in between.
    let inserted = sqlx::query!(
        "INSERT INTO inbox (event_id, occurred_at)
         SELECT $1::uuid, CASE WHEN $3 THEN now() ELSE $2 END
         WHERE $3::boolean OR $2::timestamptz > (SELECT pruned_up_to FROM inbox_horizon)
         ON CONFLICT DO NOTHING",
        event.id,
        event.occurred_at,
        event.beyond_horizon
    )
    .execute(&mut *transaction)
    .traced("INSERT", "inbox")
    .await?;
    if inserted.rows_affected() == 1 {
        return Ok(Arrival::First);
    }
    not_inserted(transaction, &[event]).await?.pop().ok_or_else(no_horizon)
}

/// The batch form of [`first_delivery`]: what each event is, an event that stands in the batch twice being first where it stands
/// first. The rows are touched in the order of the ids, so that two batches never wait for each other in a circle.
pub async fn first_deliveries(
    transaction: &mut PgConnection,
    events: &[Event],
) -> Result<Vec<Arrival>, sqlx::Error> {
    let (ids, times, allowed) = columns(events);
    let inserted = sqlx::query_scalar!(
        "INSERT INTO inbox (event_id, occurred_at)
         SELECT id, CASE WHEN allowed THEN now() ELSE occurred_at END
         FROM unnest($1::uuid[], $2::timestamptz[], $3::boolean[]) AS event (id, occurred_at, allowed)
         WHERE allowed OR occurred_at > (SELECT pruned_up_to FROM inbox_horizon)
         ORDER BY id
         ON CONFLICT DO NOTHING
         RETURNING event_id",
        &ids,
        &times,
        &allowed
    )
    .fetch_all(&mut *transaction)
    .traced_batch("INSERT", "inbox", events.len())
    .await?;
    let mut first: HashSet<Uuid> = inserted.into_iter().collect();
    let is_first: Vec<bool> = ids.iter().map(|id| first.remove(id)).collect();
    let others: Vec<Event> =
        events.iter().zip(&is_first).filter(|(_, first)| !**first).map(|(event, _)| *event).collect();
    if others.is_empty() {
        return Ok(vec![Arrival::First; events.len()]);
    }
    let mut others = not_inserted(transaction, &others).await?.into_iter();
    is_first
        .into_iter()
        .map(|first| if first { Ok(Arrival::First) } else { others.next().ok_or_else(no_horizon) })
        .collect()
}

/// What a delivery of the event would be now. Saves an outside call; `First` is only good as long as nobody else applies the event, so
/// [`first_delivery`] decides.
pub async fn arrival(pool: &PgPool, event: Event) -> Result<Arrival, sqlx::Error> {
    arrivals(pool, &[event]).await?.pop().ok_or_else(no_horizon)
}

/// As [`arrival`], for many: what each is, in their order. An event that stands there twice is twice the same.
pub async fn arrivals(pool: &PgPool, events: &[Event]) -> Result<Vec<Arrival>, sqlx::Error> {
    let arrivals = look(pool, events).await?;
    if arrivals.len() == events.len() { Ok(arrivals) } else { Err(no_horizon()) }
}

/// Repeats and what is beyond the horizon, among events that the insert did not take.
pub(crate) async fn not_inserted(
    transaction: &mut PgConnection,
    events: &[Event],
) -> Result<Vec<Arrival>, sqlx::Error> {
    let arrivals = look(transaction, events).await?;
    if arrivals.contains(&Arrival::First) {
        // Its row was there a statement ago and was pruned since. It was allowed beyond the horizon, and so it will be when it comes again.
        return Err(sqlx::Error::Protocol("a row of the inbox was pruned meanwhile".to_owned()));
    }
    Ok(arrivals)
}

async fn look(executor: impl PgExecutor<'_>, events: &[Event]) -> Result<Vec<Arrival>, sqlx::Error> {
    let (ids, times, allowed) = columns(events);
    // `EXISTS` would let the planner read the whole inbox into a hash table instead of its index, for a single event too: it takes the one row of
    // `inbox_horizon`, of which it never has statistics, for thousands.
    let rows = sqlx::query!(
        r#"SELECT COALESCE((SELECT true FROM inbox WHERE event_id = event.id), false) AS "known!",
                  CASE WHEN pruned_up_to >= event.occurred_at AND NOT event.allowed THEN pruned_up_to END AS horizon
           FROM unnest($1::uuid[], $2::timestamptz[], $3::boolean[])
                WITH ORDINALITY AS event (id, occurred_at, allowed, place), inbox_horizon
           ORDER BY place"#,
        &ids,
        &times,
        &allowed
    )
    .fetch_all(executor)
    .traced_batch("SELECT", "inbox", events.len())
    .await?;
    let arrivals = events.iter().zip(rows).map(|(event, row)| match (row.known, row.horizon) {
        (true, _) => Arrival::Repeat,
        (false, Some(horizon)) => {
            Arrival::BeyondHorizon(BeyondHorizon { occurred_at: event.occurred_at, horizon })
        }
        (false, None) => Arrival::First,
    });
    Ok(arrivals.collect())
}

pub(crate) fn columns(events: &[Event]) -> (Vec<Uuid>, Vec<DateTime<Utc>>, Vec<bool>) {
    let (mut ids, mut times, mut allowed) = (Vec::new(), Vec::new(), Vec::new());
    for event in events {
        ids.push(event.id);
        times.push(event.occurred_at);
        allowed.push(event.beyond_horizon);
    }
    (ids, times, allowed)
}

/// The migration makes the row; without it nothing counts as new.
pub(crate) fn no_horizon() -> sqlx::Error {
    sqlx::Error::Protocol("the table inbox_horizon has no row".to_owned())
}
