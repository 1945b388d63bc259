//! Rows waiting to be published.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::PgPool;
use uuid::Uuid;

use super::lease::Lease;

/// Where a row stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RowId {
    /// Its bucket.
    pub bucket: i16,
    /// Its place in the bucket.
    pub id: i64,
}

/// An event to publish.
#[derive(Clone, Debug)]
pub struct Row {
    /// Where the row stands.
    pub row_id: RowId,
    /// Topic it goes to.
    pub topic: String,
    /// Key of the record.
    pub aggregate_id: Uuid,
    /// Number of the event in its aggregate.
    pub sequence: i64,
    /// Identity of the event.
    pub event_id: Uuid,
    /// Its type.
    pub event_type: String,
    /// Who decided it.
    pub source: String,
    /// W3C trace context of the change.
    pub traceparent: Option<String>,
    /// When it was inserted.
    pub created_at: DateTime<Utc>,
    /// JSON text, sent as it stands.
    pub payload: String,
}

/// The oldest rows of the leased buckets, at most `per_bucket` of each, by bucket and then by id. Rows of blocked keys are left
/// out, so that they take no room.
pub async fn claim(pool: &PgPool, lease: &Lease, per_bucket: i64) -> Result<Vec<Row>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"SELECT o.bucket AS "bucket!", o.id, o.topic, o.aggregate_id, o.sequence, o.event_id, o.event_type, o.source,
                  o.traceparent, o.created_at, o.payload::text AS "payload!"
           FROM unnest($1::smallint[]) AS held (bucket)
           CROSS JOIN LATERAL (
               SELECT * FROM outbox
               WHERE outbox.bucket = held.bucket
                 AND NOT EXISTS (SELECT 1 FROM outbox_blocked b WHERE b.aggregate_id = outbox.aggregate_id)
               ORDER BY outbox.id
               LIMIT $2
           ) AS o
           ORDER BY o.bucket, o.id"#,
        &lease.buckets,
        per_bucket
    )
    .fetch_all(pool)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Row {
            row_id: RowId { bucket: row.bucket, id: row.id },
            topic: row.topic,
            aggregate_id: row.aggregate_id,
            sequence: row.sequence,
            event_id: row.event_id,
            event_type: row.event_type,
            source: row.source,
            traceparent: row.traceparent,
            created_at: row.created_at,
            payload: row.payload,
        })
        .collect())
}

/// Removes acknowledged rows whose bucket the lease still holds; returns how many. Fewer than given means that another relay
/// took over: it will send those rows again, and the inbox drops the second copy.
pub async fn settle(pool: &PgPool, lease: &Lease, acknowledged: &[RowId]) -> Result<u64, sqlx::Error> {
    let (buckets, ids): (Vec<i16>, Vec<i64>) = acknowledged.iter().map(|row| (row.bucket, row.id)).unzip();
    let deleted = sqlx::query!(
        "DELETE FROM outbox AS o
         USING unnest($1::smallint[], $2::bigint[]) AS done (bucket, id),
               unnest($4::smallint[], $5::bigint[]) AS held (bucket, epoch),
               outbox_lease AS l
         WHERE o.bucket = done.bucket AND o.id = done.id
           AND held.bucket = o.bucket
           AND l.bucket = held.bucket AND l.epoch = held.epoch AND l.owner = $3",
        &buckets,
        &ids,
        lease.owner,
        &lease.buckets,
        &lease.epochs
    )
    .execute(pool)
    .await?;
    Ok(deleted.rows_affected())
}

/// Holds back all rows of the key of `row`, because Kafka refused this row for what it is. An operator decides what becomes of it.
pub async fn block(pool: &PgPool, row: &Row, reason: &str) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO outbox_blocked (aggregate_id, bucket, id, reason) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
        row.aggregate_id,
        row.row_id.bucket,
        row.row_id.id,
        reason
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// How many keys are blocked, and how long the oldest row of the leased buckets has been waiting (zero if there is none).
pub async fn backlog(pool: &PgPool, lease: &Lease) -> Result<(i64, Duration), sqlx::Error> {
    let row = sqlx::query!(
        r#"SELECT (SELECT count(*) FROM outbox_blocked) AS "blocked!",
                  coalesce(extract(epoch FROM now() - min(o.created_at)), 0)::float8 AS "age!"
           FROM unnest($1::smallint[]) AS held (bucket)
           CROSS JOIN LATERAL (
               SELECT created_at FROM outbox WHERE outbox.bucket = held.bucket ORDER BY outbox.id LIMIT 1
           ) AS o"#,
        &lease.buckets
    )
    .fetch_one(pool)
    .await?;
    Ok((row.blocked, Duration::from_secs_f64(row.age.max(0.0))))
}
