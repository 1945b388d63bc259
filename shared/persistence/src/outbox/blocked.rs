//! Keys whose oldest row Kafka refused, and what an operator can do about them.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::{PgExecutor, PgPool};
use uuid::Uuid;

use super::{Lease, Row, columns};

/// Holds back all rows of the key of `row`, because Kafka refused this row for what it is. Does nothing when the row is gone or
/// its bucket was taken over.
pub async fn block(
    connection: impl PgExecutor<'_>,
    lease: &Lease,
    row: &Row,
    reason: &str,
) -> Result<(), sqlx::Error> {
    // Locking the lease makes a successor wait: either it finds the key blocked, or this changes nothing.
    sqlx::query!(
        "WITH held AS (
             SELECT bucket FROM outbox_lease WHERE bucket = $2 AND owner = $5 AND epoch = $6 FOR SHARE
         )
         INSERT INTO outbox_blocked (aggregate_id, bucket, id, reason)
         SELECT $1, o.bucket, o.id, $4 FROM held JOIN outbox o ON o.bucket = held.bucket AND o.id = $3
         ON CONFLICT DO NOTHING",
        row.aggregate_id,
        row.row_id.bucket,
        row.row_id.id,
        reason,
        lease.owner(),
        lease.epoch(row.row_id.bucket)
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Ends the blocking of keys that an operator released; returns how many there were in the leased buckets. The caller then has to
/// read those buckets from the beginning before it reads on: older rows of such a key are behind it.
pub async fn take_up_released(connection: impl PgExecutor<'_>, lease: &Lease) -> Result<u64, sqlx::Error> {
    let (owner, buckets, epochs) = columns(lease);
    let deleted = sqlx::query!(
        "WITH held AS (
             SELECT l.bucket FROM unnest($2::smallint[], $3::bigint[]) AS mine (bucket, epoch)
             JOIN outbox_lease l ON l.bucket = mine.bucket AND l.epoch = mine.epoch AND l.owner = $1
             FOR SHARE OF l
         )
         DELETE FROM outbox_blocked b USING held WHERE b.bucket = held.bucket AND b.released",
        owner,
        &buckets,
        &epochs
    )
    .execute(connection)
    .await?;
    Ok(deleted.rows_affected())
}

/// How many keys are blocked, and how long the oldest row of the leased buckets has been waiting (zero if there is none).
pub async fn backlog(pool: &PgPool, lease: &Lease) -> Result<(i64, Duration), sqlx::Error> {
    let buckets: Vec<i16> = lease.buckets().collect();
    let row = sqlx::query!(
        r#"SELECT (SELECT count(*) FROM outbox_blocked WHERE NOT released) AS "blocked!",
                  coalesce(extract(epoch FROM now() - min(o.created_at)), 0)::float8 AS "age!"
           FROM unnest($1::smallint[]) AS held (bucket)
           CROSS JOIN LATERAL (
               SELECT created_at FROM outbox WHERE outbox.bucket = held.bucket ORDER BY outbox.id LIMIT 1
           ) AS o"#,
        &buckets
    )
    .fetch_one(pool)
    .await?;
    Ok((row.blocked, Duration::from_secs_f64(row.age.max(0.0))))
}

/// A blocked key, for a list.
#[derive(Clone, Debug)]
pub struct BlockedKey {
    /// The key.
    pub key: Uuid,
    /// Why Kafka refused its oldest row.
    pub reason: String,
    /// Since when.
    pub blocked_at: DateTime<Utc>,
    /// Rows of the key that wait, the refused one included.
    pub rows: i64,
}

/// Keys that are blocked and not yet released, the longest first, at most `limit`.
pub async fn list_blocked(pool: &PgPool, limit: i64) -> Result<Vec<BlockedKey>, sqlx::Error> {
    sqlx::query_as!(
        BlockedKey,
        r#"SELECT b.aggregate_id AS key, b.reason, b.blocked_at,
                  (SELECT count(*) FROM outbox o WHERE o.bucket = b.bucket AND o.aggregate_id = b.aggregate_id) AS "rows!"
           FROM outbox_blocked b WHERE NOT b.released ORDER BY b.blocked_at, b.aggregate_id LIMIT $1"#,
        limit
    )
    .fetch_all(pool)
    .await
}

/// The refused row of a blocked key.
#[derive(Clone, Debug)]
pub struct RefusedRow {
    /// Why Kafka refused it.
    pub reason: String,
    /// Since when the key is blocked.
    pub blocked_at: DateTime<Utc>,
    /// Topic it goes to.
    pub topic: String,
    /// Number of the event in its aggregate.
    pub sequence: i64,
    /// Identity of the event.
    pub event_id: Uuid,
    /// Its type.
    pub event_type: String,
    /// When it was inserted.
    pub created_at: DateTime<Utc>,
    /// Its payload.
    pub payload: String,
}

/// The refused row of `key`, if the key is blocked and not yet released.
pub async fn show(pool: &PgPool, key: Uuid) -> Result<Option<RefusedRow>, sqlx::Error> {
    sqlx::query_as!(
        RefusedRow,
        r#"SELECT b.reason, b.blocked_at, o.topic, o.sequence, o.event_id, o.event_type, o.created_at,
                  o.payload::text AS "payload!"
           FROM outbox_blocked b JOIN outbox o ON o.bucket = b.bucket AND o.id = b.id
           WHERE b.aggregate_id = $1 AND NOT b.released"#,
        key
    )
    .fetch_optional(pool)
    .await
}

/// Why a key was not released.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    /// The key is not blocked, or was released already.
    #[error("this key is not blocked")]
    NotBlocked,
    /// The database did not do it.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

impl ReleaseError {
    fn unless(released: u64) -> Result<(), Self> {
        if released == 0 { Err(Self::NotBlocked) } else { Ok(()) }
    }
}

/// Has the refused row of `key` tried again as it is: for a limit that was raised.
pub async fn release_key(pool: &PgPool, key: Uuid) -> Result<(), ReleaseError> {
    let released = sqlx::query!(
        "UPDATE outbox_blocked SET released = true WHERE aggregate_id = $1 AND NOT released",
        key
    )
    .execute(pool)
    .await?;
    ReleaseError::unless(released.rows_affected())
}

/// Has the refused row of `key` tried again with another payload, which must be JSON.
pub async fn repair(pool: &PgPool, key: Uuid, payload: &str) -> Result<(), ReleaseError> {
    let released = sqlx::query!(
        "WITH freed AS (
             UPDATE outbox_blocked SET released = true WHERE aggregate_id = $1 AND NOT released RETURNING bucket, id
         )
         UPDATE outbox o SET payload = $2::text::json FROM freed WHERE o.bucket = freed.bucket AND o.id = freed.id",
        key,
        payload
    )
    .execute(pool)
    .await?;
    ReleaseError::unless(released.rows_affected())
}

/// Takes the refused row of `key` out for good, writes down who decided that and why, and has the later rows of the key published.
/// Returns the identity of the event.
pub async fn skip(pool: &PgPool, key: Uuid, who: &str, why: &str) -> Result<Uuid, ReleaseError> {
    let skipped = sqlx::query_scalar!(
        "WITH freed AS (
             UPDATE outbox_blocked SET released = true WHERE aggregate_id = $1 AND NOT released
             RETURNING bucket, id, reason
         ), gone AS (
             DELETE FROM outbox o USING freed WHERE o.bucket = freed.bucket AND o.id = freed.id
             RETURNING o.*, freed.reason
         )
         INSERT INTO outbox_skipped (event_id, topic, aggregate_id, sequence, event_type, payload, created_at, reason,
                                     skipped_by, skipped_why)
         SELECT event_id, topic, aggregate_id, sequence, event_type, payload, created_at, reason, $2, $3 FROM gone
         RETURNING event_id",
        key,
        who,
        why
    )
    .fetch_optional(pool)
    .await?;
    skipped.ok_or(ReleaseError::NotBlocked)
}
