//! Removing rows that Kafka has acknowledged.

use std::collections::BTreeMap;

use sqlx::PgExecutor;

use super::{Lease, RowId};

/// Removes acknowledged rows whose bucket the lease still holds; returns how many. Rows of a bucket that was taken over stay: the
/// new holder sends them again, and the inbox drops the second copy. May be repeated when the answer got lost.
pub async fn settle(
    connection: impl PgExecutor<'_>,
    lease: &Lease,
    acknowledged: &[RowId],
) -> Result<u64, sqlx::Error> {
    let Parts { buckets, epochs, first, last, ids } = Parts::of(lease, acknowledged);
    // One look at the lease for each bucket and not for each row, and the rows of a bucket in the order of the index.
    let deleted = sqlx::query!(
        "DELETE FROM outbox AS o
         USING unnest($2::smallint[], $3::bigint[], $4::integer[], $5::integer[]) AS part (bucket, epoch, first, last),
               outbox_lease AS l,
               unnest(($6::bigint[])[part.first:part.last]) AS done (id)
         WHERE l.bucket = part.bucket AND l.epoch = part.epoch AND l.owner = $1
           AND o.bucket = part.bucket AND o.id = done.id",
        lease.owner(),
        &buckets,
        &epochs,
        &first,
        &last,
        &ids
    )
    .execute(connection)
    .await?;
    Ok(deleted.rows_affected())
}

/// Rows by bucket, as columns: the ids of a part stand at `first..=last` of all, counted from 1 as Postgres counts.
#[derive(Debug, Default, PartialEq, Eq)]
struct Parts {
    buckets: Vec<i16>,
    epochs: Vec<i64>,
    first: Vec<i32>,
    last: Vec<i32>,
    ids: Vec<i64>,
}

impl Parts {
    /// What is not leased is left out.
    fn of(lease: &Lease, rows: &[RowId]) -> Self {
        let mut by_bucket: BTreeMap<i16, Vec<i64>> = BTreeMap::new();
        for row in rows {
            by_bucket.entry(row.bucket).or_default().push(row.id);
        }
        let mut parts = Self::default();
        for (bucket, mut ids) in by_bucket {
            let Some(epoch) = lease.epoch(bucket) else { continue };
            ids.sort_unstable();
            let place = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
            parts.first.push(place(parts.ids.len() + 1));
            parts.ids.append(&mut ids);
            parts.last.push(place(parts.ids.len()));
            parts.buckets.push(bucket);
            parts.epochs.push(epoch);
        }
        parts
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::outbox::Holding;

    #[test]
    fn rows_of_a_bucket_stand_together_in_the_order_of_their_ids_and_what_is_not_leased_is_left_out() {
        let mut lease = Lease::new(Uuid::nil());
        lease.extend([(3, Holding { epoch: 30, mark: 0 }), (1, Holding { epoch: 10, mark: 0 })]);
        let rows = [(3, 9), (1, 4), (2, 5), (3, 7)].map(|(bucket, id)| RowId { bucket, id });
        let parts = Parts::of(&lease, &rows);
        let wanted = Parts {
            buckets: vec![1, 3],
            epochs: vec![10, 30],
            first: vec![1, 2],
            last: vec![1, 3],
            ids: vec![4, 7, 9],
        };
        assert_eq!(parts, wanted);
    }
}
