//! Which events a consumer has applied.

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

/// Whether the effect of the event is committed. Saves an outside call; a `false` is only good as long as nobody else applies
/// the event, so [`first_delivery`] decides.
pub async fn seen(pool: &PgPool, event_id: Uuid) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(r#"SELECT EXISTS (SELECT 1 FROM inbox WHERE event_id = $1) AS "seen!""#, event_id)
        .fetch_one(pool)
        .await
}
