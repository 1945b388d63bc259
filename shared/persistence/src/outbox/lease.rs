//! Who may publish which buckets. Leases save double work; order per key does not rest on them, since the inbox drops
//! what a late holder sends again.

use std::time::Duration;

use sqlx::PgPool;
use sqlx::postgres::types::PgInterval;
use uuid::Uuid;

/// Number of buckets, fixed by the schema.
pub const BUCKETS: usize = 64;

/// Buckets that `owner` holds, each with the epoch under which it was taken.
#[derive(Clone, Debug)]
pub struct Lease {
    pub(crate) owner: Uuid,
    pub(crate) buckets: Vec<i16>,
    pub(crate) epochs: Vec<i64>,
}

impl Lease {
    /// The buckets held, ascending.
    pub fn buckets(&self) -> &[i16] {
        &self.buckets
    }
}

/// Takes every bucket that nobody holds, for `duration`. The epoch of each grows, so that a former holder can no longer settle.
/// `None`: others hold them all.
pub async fn acquire(pool: &PgPool, owner: Uuid, duration: Duration) -> Result<Option<Lease>, sqlx::Error> {
    let mut rows = sqlx::query!(
        "UPDATE outbox_lease SET owner = $1, epoch = epoch + 1, expires_at = now() + $2::interval
         WHERE bucket IN (SELECT bucket FROM outbox_lease WHERE expires_at <= now() ORDER BY bucket FOR UPDATE)
           AND expires_at <= now()
         RETURNING bucket, epoch",
        owner,
        interval(duration)
    )
    .fetch_all(pool)
    .await?;
    rows.sort_unstable_by_key(|row| row.bucket);
    Ok((!rows.is_empty()).then(|| Lease {
        owner,
        buckets: rows.iter().map(|row| row.bucket).collect(),
        epochs: rows.iter().map(|row| row.epoch).collect(),
    }))
}

/// Prolongs the lease by `duration` from now. `false`: at least one bucket was taken over, the lease is void.
pub async fn renew(pool: &PgPool, lease: &Lease, duration: Duration) -> Result<bool, sqlx::Error> {
    let renewed = sqlx::query!(
        "UPDATE outbox_lease AS l SET expires_at = now() + $4::interval
         FROM unnest($2::smallint[], $3::bigint[]) AS held (bucket, epoch)
         WHERE l.bucket = held.bucket AND l.epoch = held.epoch AND l.owner = $1",
        lease.owner,
        &lease.buckets,
        &lease.epochs,
        interval(duration)
    )
    .execute(pool)
    .await?;
    Ok(renewed.rows_affected() == lease.buckets.len() as u64)
}

/// Gives the buckets back, so that a successor need not wait for the lease to run out.
pub async fn release(pool: &PgPool, lease: &Lease) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE outbox_lease AS l SET owner = NULL, expires_at = '-infinity'
         FROM unnest($2::smallint[], $3::bigint[]) AS held (bucket, epoch)
         WHERE l.bucket = held.bucket AND l.epoch = held.epoch AND l.owner = $1",
        lease.owner,
        &lease.buckets,
        &lease.epochs
    )
    .execute(pool)
    .await?;
    Ok(())
}

fn interval(duration: Duration) -> PgInterval {
    PgInterval { months: 0, days: 0, microseconds: i64::try_from(duration.as_micros()).unwrap_or(i64::MAX) }
}
