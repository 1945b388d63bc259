//! Which events a consumer has applied.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

/// Notes the event in the caller's transaction. `true`: this is the first delivery, apply the effect in the same transaction.
/// `false`: the effect is committed already, do nothing.
pub async fn first_delivery(
    transaction: &mut PgConnection,
    event_id: Uuid,
    occurred_at: DateTime<Utc>,
) -> Result<bool, sqlx::Error> {
    let inserted = sqlx::query!(
        "INSERT INTO inbox (event_id, occurred_at) VALUES ($1, $2) ON CONFLICT DO NOTHING",
        event_id,
        occurred_at
    )
    .execute(transaction)
    .await?;
    Ok(inserted.rows_affected() == 1)
}

/// The batch form of [`first_delivery`]: for each event whether it is its first delivery, an event that stands in the batch twice being
/// first where it stands first. The rows are touched in the order of the ids, so that two batches never wait for each other in a circle.
pub async fn first_deliveries(
    transaction: &mut PgConnection,
    events: &[(Uuid, DateTime<Utc>)],
) -> Result<Vec<bool>, sqlx::Error> {
    let (ids, times): (Vec<Uuid>, Vec<DateTime<Utc>>) = events.iter().copied().unzip();
    let inserted = sqlx::query_scalar!(
        "INSERT INTO inbox (event_id, occurred_at)
         SELECT * FROM unnest($1::uuid[], $2::timestamptz[]) AS event (event_id, occurred_at) ORDER BY event_id
         ON CONFLICT DO NOTHING
         RETURNING event_id",
        &ids,
        &times
    )
    .fetch_all(transaction)
    .await?;
    let mut first: HashSet<Uuid> = inserted.into_iter().collect();
    Ok(ids.iter().map(|id| first.remove(id)).collect())
}

/// Whether the effect of the event is committed. Saves an outside call; a `false` is only good as long as nobody else applies
/// the event, so [`first_delivery`] decides.
pub async fn seen(pool: &PgPool, event_id: Uuid) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(r#"SELECT EXISTS (SELECT 1 FROM inbox WHERE event_id = $1) AS "seen!""#, event_id)
        .fetch_one(pool)
        .await
}
