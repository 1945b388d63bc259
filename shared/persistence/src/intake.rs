//! An operator's word about a consumer group, in the group's own database: every process of the group reads it, also one that
//! starts later.

use chrono::{DateTime, Utc};
use sqlx::PgPool;

/// The group takes nothing from its topics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paused {
    /// Since when.
    pub since: DateTime<Utc>,
    /// Who said so.
    pub by: String,
    /// Why.
    pub why: String,
}

/// Pauses the group. `false`: it is paused already, and what was said then stays.
pub async fn pause(pool: &PgPool, by: &str, why: &str) -> Result<bool, sqlx::Error> {
    let written =
        sqlx::query!("INSERT INTO intake (by, why) VALUES ($1, $2) ON CONFLICT DO NOTHING", by, why)
            .execute(pool)
            .await?;
    Ok(written.rows_affected() == 1)
}

/// Lets the group go on. `false`: it was not paused.
pub async fn resume(pool: &PgPool) -> Result<bool, sqlx::Error> {
    Ok(sqlx::query!("DELETE FROM intake").execute(pool).await?.rows_affected() == 1)
}

/// Whether the group is paused.
pub async fn paused(pool: &PgPool) -> Result<Option<Paused>, sqlx::Error> {
    sqlx::query_as!(Paused, "SELECT since, by, why FROM intake").fetch_optional(pool).await
}
