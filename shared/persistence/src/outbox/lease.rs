//! Who may publish which buckets. Leases save double work; order per key does not rest on them, since all that a late
//! holder can still send are rows that the new one sends too.

use std::collections::BTreeMap;
use std::time::Duration;

use sqlx::PgPool;
use sqlx::postgres::types::PgInterval;
use uuid::Uuid;

use super::{CHANNEL, LEASES, columns};

/// Number of buckets, fixed by the schema.
pub const BUCKETS: usize = 64;

/// Buckets that `owner` holds, each with the epoch under which it was taken.
#[derive(Clone, Debug)]
pub struct Lease {
    owner: Uuid,
    buckets: BTreeMap<i16, i64>,
}

impl Lease {
    /// The lease of a relay that holds nothing yet.
    pub fn new(owner: Uuid) -> Self {
        Self { owner, buckets: BTreeMap::new() }
    }

    /// Who holds it.
    pub fn owner(&self) -> Uuid {
        self.owner
    }

    /// The buckets held, ascending.
    pub fn buckets(&self) -> impl DoubleEndedIterator<Item = i16> + '_ {
        self.buckets.keys().copied()
    }

    /// Their epochs, in the order of [`Lease::buckets`].
    pub fn epochs(&self) -> impl Iterator<Item = i64> + '_ {
        self.buckets.values().copied()
    }

    /// How many buckets are held.
    pub fn len(&self) -> usize {
        self.buckets.len()
    }

    /// Whether none is held.
    pub fn is_empty(&self) -> bool {
        self.buckets.is_empty()
    }

    /// The epoch under which `bucket` is held.
    pub fn epoch(&self, bucket: i16) -> Option<i64> {
        self.buckets.get(&bucket).copied()
    }

    /// Adds buckets that [`take`] returned.
    pub fn extend(&mut self, taken: impl IntoIterator<Item = (i16, Holding)>) {
        self.buckets.extend(taken.into_iter().map(|(bucket, holding)| (bucket, holding.epoch)));
    }

    /// Forgets a bucket.
    pub fn remove(&mut self, bucket: i16) {
        self.buckets.remove(&bucket);
    }

    /// The part of it that covers `buckets`.
    pub fn part(&self, buckets: &[i16]) -> Self {
        let held = |bucket: &i16| Some((*bucket, self.epoch(*bucket)?));
        Self { owner: self.owner, buckets: buckets.iter().filter_map(held).collect() }
    }
}

/// How a bucket is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holding {
    /// The epoch under which it was taken.
    pub epoch: i64,
    /// Its rows up to here are done with; see [`remember`].
    pub mark: i64,
}

/// What [`tend`] found.
#[derive(Clone, Debug)]
pub struct Tended {
    /// Buckets of this owner.
    pub held: BTreeMap<i16, Holding>,
    /// Other relays that are alive.
    pub others: u64,
    /// Buckets without a living owner.
    pub free: u64,
    /// Blocked keys, in all buckets.
    pub blocked: u64,
    /// Whether an operator has released some of them.
    pub released: bool,
}

/// Registers `owner` for `duration` from now, which renews all its leases, and looks at how things stand.
pub async fn tend(pool: &PgPool, owner: Uuid, duration: Duration) -> Result<Tended, sqlx::Error> {
    let row = sqlx::query!(
        r#"WITH beat AS (
               INSERT INTO outbox_relay (owner, expires_at) VALUES ($1, now() + $2::interval)
               ON CONFLICT (owner) DO UPDATE SET expires_at = excluded.expires_at
           )
           SELECT ARRAY(SELECT bucket FROM outbox_lease WHERE owner = $1 ORDER BY bucket) AS "buckets!",
                  ARRAY(SELECT epoch FROM outbox_lease WHERE owner = $1 ORDER BY bucket) AS "epochs!",
                  ARRAY(SELECT mark FROM outbox_lease WHERE owner = $1 ORDER BY bucket) AS "marks!",
                  (SELECT count(*) FROM outbox_relay WHERE owner <> $1 AND expires_at > now()) AS "others!",
                  (SELECT count(*) FROM outbox_lease l WHERE l.owner IS DISTINCT FROM $1 AND NOT EXISTS (
                       SELECT 1 FROM outbox_relay r WHERE r.owner = l.owner AND r.expires_at > now())) AS "free!",
                  (SELECT count(*) FROM outbox_blocked WHERE NOT released) AS "blocked!",
                  EXISTS (SELECT 1 FROM outbox_blocked b JOIN outbox_lease l ON l.bucket = b.bucket
                          WHERE b.released AND l.owner = $1) AS "released!""#,
        owner,
        interval(duration)
    )
    .fetch_one(pool)
    .await?;
    let holdings = row.epochs.into_iter().zip(row.marks).map(|(epoch, mark)| Holding { epoch, mark });
    Ok(Tended {
        held: row.buckets.into_iter().zip(holdings).collect(),
        others: row.others.unsigned_abs(),
        free: row.free.unsigned_abs(),
        blocked: row.blocked.unsigned_abs(),
        released: row.released,
    })
}

/// Takes up to `limit` buckets without a living owner. The epoch of each grows, so that a former holder can no longer settle.
pub async fn take(pool: &PgPool, owner: Uuid, limit: usize) -> Result<Vec<(i16, Holding)>, sqlx::Error> {
    let rows = sqlx::query!(
        // Registrations of the dead are removed when they matter least: long after their buckets were taken over.
        "WITH buried AS (DELETE FROM outbox_relay WHERE expires_at < now() - interval '1 minute')
         UPDATE outbox_lease SET owner = $1, epoch = epoch + 1
         WHERE bucket IN (
             SELECT l.bucket FROM outbox_lease l
             WHERE NOT EXISTS (SELECT 1 FROM outbox_relay r WHERE r.owner = l.owner AND r.expires_at > now())
             ORDER BY l.bucket LIMIT $2 FOR UPDATE OF l
         )
         RETURNING bucket, epoch, mark",
        owner,
        i64::try_from(limit).unwrap_or(i64::MAX)
    )
    .fetch_all(pool)
    .await?;
    Ok(rows.into_iter().map(|row| (row.bucket, Holding { epoch: row.epoch, mark: row.mark })).collect())
}

/// Notes, for whoever takes over, up to which id the rows of each bucket of `part` are done with: settled, with nothing below that a
/// transaction in progress could still bring. `marks` are in the order of [`Lease::buckets`]. Rows of blocked keys are not done with: a mark
/// stays below the oldest. Of a bucket that is no longer held nothing is noted.
pub async fn remember(pool: &PgPool, part: &Lease, marks: &[i64]) -> Result<(), sqlx::Error> {
    let (owner, buckets, epochs) = columns(part);
    sqlx::query!(
        "UPDATE outbox_lease AS l SET mark = held.mark
         FROM (
             SELECT done.bucket, done.epoch, least(done.mark, min(b.id) - 1) AS mark
             FROM unnest($2::smallint[], $3::bigint[], $4::bigint[]) AS done (bucket, epoch, mark)
             LEFT JOIN outbox_blocked b ON b.bucket = done.bucket
             GROUP BY done.bucket, done.epoch, done.mark
         ) AS held
         WHERE l.bucket = held.bucket AND l.epoch = held.epoch AND l.owner = $1 AND l.mark < held.mark",
        owner,
        &buckets,
        &epochs,
        marks
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// Gives the buckets of `part` back, and tells the other relays.
pub async fn give_back(pool: &PgPool, part: &Lease) -> Result<(), sqlx::Error> {
    let (owner, buckets, epochs) = columns(part);
    sqlx::query!(
        "WITH freed AS (
             UPDATE outbox_lease AS l SET owner = NULL
             FROM unnest($2::smallint[], $3::bigint[]) AS held (bucket, epoch)
             WHERE l.bucket = held.bucket AND l.epoch = held.epoch AND l.owner = $1
             RETURNING l.bucket
         )
         SELECT pg_notify($4, $5) FROM (SELECT count(*) FROM freed) AS done",
        owner,
        &buckets,
        &epochs,
        CHANNEL,
        LEASES
    )
    .fetch_all(pool)
    .await?;
    Ok(())
}

/// Ends the registration, which frees all buckets of `owner` at once, and tells the other relays.
pub async fn leave(pool: &PgPool, owner: Uuid) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "WITH gone AS (DELETE FROM outbox_relay WHERE owner = $1 RETURNING owner)
         SELECT pg_notify($2, $3) FROM (SELECT count(*) FROM gone) AS done",
        owner,
        CHANNEL,
        LEASES
    )
    .fetch_all(pool)
    .await?;
    Ok(())
}

fn interval(duration: Duration) -> PgInterval {
    PgInterval { months: 0, days: 0, microseconds: i64::try_from(duration.as_micros()).unwrap_or(i64::MAX) }
}
