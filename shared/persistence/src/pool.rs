//! Pools and migrations.

use std::str::FromStr;
use std::time::Duration;

use futures::future::try_join_all;
use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection, PgPool};
use tracing::{info, warn};

/// How long a caller waits for a connection. Longer waits only move the queue from the client into the process.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(4);
/// A connection that was idle for longer is pinged before use, so that a restarted server is not noticed by a request.
pub const TRUSTED_IDLE: Duration = Duration::from_millis(500);
const MIGRATION_RETRY: Duration = Duration::from_millis(500);

/// A database URL that cannot be read. The text leaves out the URL, which holds a password.
#[derive(Debug, thiserror::Error)]
#[error("the database URL is not valid: expected postgres://user:password@host:port/database")]
pub struct BadDatabaseUrl;

/// A pool of `max_connections` that opens them in the background, as soon as the database is there: a process starts, and answers its health
/// checks, while the database is away. `application` shows in `pg_stat_activity`.
pub fn connect_lazy(url: &str, max_connections: u32, application: &str) -> Result<PgPool, BadDatabaseUrl> {
    connect_lazy_with(url, max_connections, application, &[])
}

/// Settings of sessions whose statements are few, short and asked for all the time, and find their rows by an index. Each is planned once: planning one
/// for as many rows as it has this time takes longer than carrying it out. As nothing is known of tables then, a scan of a whole table is never the plan.
pub(crate) const PLANNED_ONCE: [(&str, &str); 2] =
    [("plan_cache_mode", "force_generic_plan"), ("enable_seqscan", "off")];

/// As [`connect_lazy`], for sessions whose statements are few, short and asked for all the time, and find their rows by an index: each is
/// planned once, and never as a scan of a whole table, however little PostgreSQL knows of its size yet.
pub fn connect_lazy_planned_once(
    url: &str,
    max_connections: u32,
    application: &str,
) -> Result<PgPool, BadDatabaseUrl> {
    connect_lazy_with(url, max_connections, application, &PLANNED_ONCE)
}

/// As [`connect_lazy`], with settings of the server for its sessions, which win over those of the role.
pub(crate) fn connect_lazy_with(
    url: &str,
    max_connections: u32,
    application: &str,
    settings: &[(&str, &str)],
) -> Result<PgPool, BadDatabaseUrl> {
    let mut options =
        PgConnectOptions::from_str(url).map_err(|_| BadDatabaseUrl)?.application_name(application);
    crate::sql::remember(&options);
    if !settings.is_empty() {
        options = options.options(settings.iter().copied());
    }
    Ok(PgPoolOptions::new()
        .max_connections(max_connections)
        // Opened in the background from the start: a burst finds them open instead of opening them while it waits.
        .min_connections(max_connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .test_before_acquire(false)
        .before_acquire(|connection, meta| {
            Box::pin(async move {
                if meta.idle_for > TRUSTED_IDLE {
                    connection.ping().await?;
                }
                Ok(true)
            })
        })
        .connect_lazy_with(options))
}

/// Waits until all connections of `pool` are open, for as long as a caller would for one at most. Who says that it is ready only then
/// leaves no login to its first callers: one that finds no connection idle opens its own, and does not get one that becomes idle meanwhile.
pub async fn fill(pool: &PgPool) {
    let all = (0..pool.options().get_max_connections()).map(|_| pool.acquire());
    if let Err(error) = try_join_all(all).await {
        warn!(%error, "not all connections to the database could be opened");
    }
}

/// One round trip, for health checks.
pub async fn ping(pool: &PgPool) -> Result<(), sqlx::Error> {
    pool.acquire().await?.ping().await
}

/// Applies the migrations that are missing, under sqlx's advisory lock, so that any number of processes may start at once.
pub async fn migrate(pool: &PgPool, migrations: &Migrator) -> Result<(), sqlx::migrate::MigrateError> {
    let mut connection = pool.acquire().await?;
    // Building an index may take longer than the role allows an ordinary statement.
    sqlx::raw_sql("SET statement_timeout = 0; SET lock_timeout = '30s'").execute(&mut *connection).await?;
    // Not `run`: its generic bounds keep the future from being `Send` in a spawned task.
    let result = migrations.run_direct(None, &mut *connection, false).await;
    // The session keeps these settings, so it must not go back into the pool.
    connection.close().await.ok();
    result
}

/// Like [`migrate`], but waits as long as the database is away. Ends early only with an error that waiting cannot mend.
pub async fn migrate_when_available(
    pool: &PgPool,
    migrations: &Migrator,
) -> Result<(), sqlx::migrate::MigrateError> {
    let mut waiting = false;
    loop {
        match migrate(pool, migrations).await {
            Ok(()) => {
                info!(migrations = migrations.iter().count(), "database is up to date");
                return Ok(());
            }
            Err(sqlx::migrate::MigrateError::Execute(error)) if crate::errors::is_unavailable(&error) => {
                if !waiting {
                    warn!(%error, "database is away, waiting for it");
                    waiting = true;
                }
            }
            Err(other) => return Err(other),
        }
        tokio::time::sleep(MIGRATION_RETRY).await;
    }
}
