//! Reading a database as it was at one moment.

use std::str::FromStr;

use anyhow::Context;
use futures::TryStreamExt;
use sqlx::postgres::{PgArguments, PgConnectOptions, PgRow};
use sqlx::query::Query;
use sqlx::{ConnectOptions, PgConnection, Postgres};

use super::PATIENCE;

/// A connection in a transaction that sees one state of the database and changes nothing, whatever the role may do.
///
/// The statements of the audit read five databases, so they are not checked against one when they are compiled; the tests run
/// each of them.
pub(super) async fn snapshot(url: &str, name: &str) -> anyhow::Result<PgConnection> {
    let mut connection = connect(url, name).await?;
    let begin = sqlx::raw_sql("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").execute(&mut connection);
    in_time(begin).await.with_context(|| format!("database {name}"))?;
    Ok(connection)
}

/// A connection for single statements, each of which sees what is committed when it starts.
pub(super) async fn connect(url: &str, name: &str) -> anyhow::Result<PgConnection> {
    let options = PgConnectOptions::from_str(url)
        .map_err(|_| persistence::pool::BadDatabaseUrl)?
        .application_name("ops audit");
    tokio::time::timeout(PATIENCE, options.connect())
        .await
        .with_context(|| format!("database {name}: no answer within {PATIENCE:?}"))?
        .with_context(|| format!("cannot connect to database {name}"))
}

/// Hands over row after row.
pub(super) async fn each(
    connection: &mut PgConnection,
    query: Query<'_, Postgres, PgArguments>,
    mut take: impl FnMut(PgRow) -> Result<(), sqlx::Error>,
) -> anyhow::Result<()> {
    let mut rows = query.fetch(connection);
    while let Some(row) = in_time(rows.try_next()).await? {
        take(row)?;
    }
    Ok(())
}

/// Bounds a wait for the database. The role's own time-out ends a statement that takes longer as a whole.
pub(super) async fn in_time<T>(work: impl Future<Output = Result<T, sqlx::Error>>) -> anyhow::Result<T> {
    let answer = tokio::time::timeout(PATIENCE, work).await;
    Ok(answer.with_context(|| format!("no answer within {PATIENCE:?}"))??)
}
