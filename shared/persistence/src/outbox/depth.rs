//! How much waits, for who watches.

use sqlx::PgPool;

/// Rows counted of each bucket, at most, so that looking stays cheap however much waits.
const PER_BUCKET: i64 = 1_000;

/// What waits in the outbox. Rows of blocked keys are left out: they wait for an operator.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Depth {
    /// Rows; 1,000 of each bucket are counted and no more.
    pub rows: i64,
    /// Age of the oldest of them, in seconds; 0 if there is none.
    pub oldest_seconds: f64,
}

/// Looks at all buckets, whoever publishes them. The server gives up after 4 s: a look that its caller has given up would keep its connection.
pub async fn depth(pool: &PgPool) -> Result<Depth, sqlx::Error> {
    let mut look = pool.begin().await?;
    sqlx::raw_sql("SET LOCAL statement_timeout = '4s'").execute(&mut *look).await?;
    // From the mark on: below it everything is done with, and there may be millions of dead rows.
    let depth = sqlx::query!(
        r#"SELECT count(*) AS "rows!",
                  coalesce(greatest(extract(epoch FROM now() - min(waiting.created_at)), 0), 0)::float8 AS "oldest!"
           FROM outbox_lease AS lease
           CROSS JOIN LATERAL (
               SELECT created_at FROM outbox
               WHERE outbox.bucket = lease.bucket AND outbox.id > lease.mark
                 AND outbox.aggregate_id NOT IN (SELECT b.aggregate_id FROM outbox_blocked b)
               ORDER BY outbox.id
               LIMIT $1
           ) AS waiting"#,
        PER_BUCKET
    )
    .fetch_one(&mut *look)
    .await?;
    look.rollback().await?;
    Ok(Depth { rows: depth.rows, oldest_seconds: depth.oldest })
}
