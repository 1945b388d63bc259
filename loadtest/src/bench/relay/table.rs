//! The outbox, as those who write to it see it.

use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, bail};
use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

use super::event::{KEYS, SIZE, SOURCE, TYPE};
use crate::bench::progress;
use crate::bench::report::number;

/// Rows that are inserted by one statement.
const CHUNK: i64 = 250_000;
/// Transactions that counting transactions takes, with [`super::CONNECTIONS`].
pub(super) const ASKING: i64 = super::CONNECTIONS as i64 + 1;
/// The last so many ids tell cheaply whether a drain is near its end.
const TAIL: i64 = 2_000;

/// The outbox.
#[derive(Debug)]
pub(super) struct Outbox {
    pool: PgPool,
}

impl Outbox {
    /// Connects with up to `connections`. What is done here may take minutes, so the time-outs of the role do not hold.
    pub(super) async fn connect(url: &str, connections: u32) -> anyhow::Result<Self> {
        let settings =
            [("statement_timeout", "0"), ("lock_timeout", "0"), ("idle_in_transaction_session_timeout", "0")];
        let options = PgConnectOptions::from_str(url)?.application_name("bench").options(settings);
        let pool = PgPoolOptions::new()
            .max_connections(connections)
            .min_connections(connections)
            .acquire_timeout(Duration::from_secs(30))
            // No transactions but those that are asked for.
            .test_before_acquire(false)
            .connect_with(options)
            .await
            .context("no connection to the orders database")?;
        Ok(Self { pool })
    }

    /// Its connections.
    pub(super) fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// Inserts `rows` rows, of different keys next to each other, and leaves the table as a vacuum leaves it and nothing to be written to disk.
    pub(super) async fn fill(&self, topic: &str, rows: u64) -> anyhow::Result<()> {
        let rows = i64::try_from(rows)?;
        let mut from = 1;
        while from <= rows {
            let to = (from + CHUNK - 1).min(rows);
            // The payload is as Event's is: an id, and digits that do not compress.
            sqlx::query(
                r#"INSERT INTO outbox (topic, aggregate_id, sequence, event_id, event_type, source, payload)
                   SELECT $1, md5('key ' || n % $4)::uuid, n / $4 + 1, id, $5, $6,
                          ('{"id":"' || id || '","data":"' || left(encode(sha512((id || '1')::bytea) || sha512((id || '2')::bytea)
                          || sha512((id || '3')::bytea) || sha512((id || '4')::bytea), 'hex'), 445) || '"}')::json
                   FROM (SELECT n, gen_random_uuid() AS id FROM generate_series($2::bigint, $3::bigint) AS n) AS events"#,
            )
            .bind(topic)
            .bind(from)
            .bind(to)
            .bind(KEYS)
            .bind(TYPE)
            .bind(SOURCE)
            .execute(&self.pool)
            .await
            .context("rows could not be inserted")?;
            if rows > CHUNK && (to == rows || to % (4 * CHUNK) == 0) {
                progress(format!("  {} of {} rows inserted", number(to as f64), number(rows as f64)));
            }
            from = to + 1;
        }
        let size: i32 = sqlx::query_scalar("SELECT octet_length(payload::text) FROM outbox LIMIT 1")
            .fetch_one(&self.pool)
            .await?;
        if usize::try_from(size)? != SIZE {
            bail!("a payload has {size} bytes");
        }
        self.settle().await
    }

    /// Removes what is left of earlier parts.
    pub(super) async fn clear(&self) -> anyhow::Result<()> {
        // Not its ids: relays have written down how far they came.
        sqlx::query("TRUNCATE outbox").execute(&self.pool).await?;
        self.settle().await
    }

    async fn settle(&self) -> anyhow::Result<()> {
        sqlx::query("VACUUM ANALYZE outbox").execute(&self.pool).await?;
        sqlx::query("CHECKPOINT").execute(&self.pool).await?;
        Ok(())
    }

    /// The highest id that was given out.
    pub(super) async fn last_id(&self) -> anyhow::Result<i64> {
        let id = sqlx::query_scalar(
            "SELECT coalesce(pg_sequence_last_value(pg_get_serial_sequence('outbox', 'id')), 0)",
        );
        Ok(id.fetch_one(&self.pool).await?)
    }

    /// Whether the newest rows, up to `last`, have gone. Cheap, however many rows have died before.
    pub(super) async fn is_tail_gone(&self, last: i64) -> anyhow::Result<bool> {
        let left: bool = sqlx::query_scalar(
            "SELECT EXISTS (SELECT FROM generate_series(0, 63) AS bucket
                            WHERE EXISTS (SELECT FROM outbox WHERE outbox.bucket = bucket::smallint AND id > $1))",
        )
        .bind(last - TAIL)
        .fetch_one(&self.pool)
        .await?;
        Ok(!left)
    }

    /// Whether no row is left. Reads through all that died.
    pub(super) async fn is_empty(&self) -> anyhow::Result<bool> {
        let left: bool =
            sqlx::query_scalar("SELECT EXISTS (SELECT FROM outbox)").fetch_one(&self.pool).await?;
        Ok(!left)
    }

    /// Transactions that were committed in this database. Asking adds [`ASKING`] until the next time.
    pub(super) async fn transactions(&self) -> anyhow::Result<i64> {
        let mut own = Vec::new();
        for _ in 0..self.pool.options().get_max_connections() {
            own.push(self.pool.acquire().await?);
        }
        // A session that is idle tells of its last transactions ten seconds later, unless it is asked to at once.
        for connection in &mut own {
            sqlx::query("SELECT pg_stat_force_next_flush()").execute(&mut **connection).await?;
        }
        let Some(reader) = own.first_mut() else { return Ok(0) };
        let count: i64 =
            sqlx::query_scalar("SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()")
                .fetch_one(&mut **reader)
                .await?;
        Ok(count)
    }
}
