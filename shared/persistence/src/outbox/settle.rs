//! Removing rows that Kafka has acknowledged.

use sqlx::PgPool;

use super::{Lease, RowId};

/// Removes acknowledged rows whose bucket the lease still holds; returns how many. Rows of a bucket that was taken over stay: the
/// new holder sends them again, and the inbox drops the second copy. May be repeated when the answer got lost.
pub async fn settle(pool: &PgPool, lease: &Lease, acknowledged: &[RowId]) -> Result<u64, sqlx::Error> {
    let held = |row: &RowId| Some((row.bucket, (row.id, lease.epoch(row.bucket)?)));
    let (buckets, rows): (Vec<i16>, Vec<(i64, i64)>) = acknowledged.iter().filter_map(held).unzip();
    let (ids, epochs): (Vec<i64>, Vec<i64>) = rows.into_iter().unzip();
    let deleted = sqlx::query!(
        "DELETE FROM outbox AS o
         USING unnest($2::smallint[], $3::bigint[], $4::bigint[]) AS done (bucket, id, epoch),
               outbox_lease AS l
         WHERE o.bucket = done.bucket AND o.id = done.id
           AND l.bucket = done.bucket AND l.epoch = done.epoch AND l.owner = $1",
        lease.owner(),
        &buckets,
        &ids,
        &epochs
    )
    .execute(pool)
    .await?;
    Ok(deleted.rows_affected())
}
