//! Statements as spans, by OpenTelemetry's conventions for database clients. Nothing is made of a statement in a trace that is not sampled.

use std::sync::{Arc, OnceLock};

use sqlx::postgres::PgConnectOptions;
use sqlx::{PgPool, Postgres, Transaction};
use telemetry::span::{Call, SpanKind, attribute, names};

use crate::grouped::NotDone;

/// Where the statements of this process go. A process has one database, and its first pool says which.
static SERVER: OnceLock<Server> = OnceLock::new();

struct Server {
    address: String,
    port: u16,
    database: Option<String>,
}

pub(crate) fn remember(options: &PgConnectOptions) {
    SERVER.get_or_init(|| Server {
        address: options.get_host().to_owned(),
        port: options.get_port(),
        database: options.get_database().map(str::to_owned),
    });
}

/// A statement on its way.
pub trait Traced<T>: Future<Output = Result<T, sqlx::Error>> + Sized {
    /// Makes a span of it: an `operation` such as `INSERT`, on `table` before all. Its text is not recorded: the summary finds it in the code.
    fn traced(self, operation: &'static str, table: &'static str) -> impl Future<Output = Self::Output> {
        statement(operation, table, 1, self)
    }

    /// As [`Self::traced`], for a statement that does the work of `items`.
    fn traced_batch(
        self,
        operation: &'static str,
        table: &'static str,
        items: usize,
    ) -> impl Future<Output = Self::Output> {
        statement(operation, table, items, self)
    }
}

impl<T, F: Future<Output = Result<T, sqlx::Error>>> Traced<T> for F {}

/// Opens a transaction, for which it may have to wait for a connection.
pub async fn begin(pool: &PgPool) -> Result<Transaction<'static, Postgres>, sqlx::Error> {
    statement("BEGIN", "", 1, pool.begin()).await
}

/// Commits, which waits for the disk.
pub async fn commit(transaction: Transaction<'static, Postgres>) -> Result<(), sqlx::Error> {
    statement("COMMIT", "", 1, transaction.commit()).await
}

/// What one caller gets of a statement that did the work of several.
#[derive(Clone, Debug)]
pub struct Shared<T> {
    /// For how many it was.
    pub items: usize,
    /// The caller's own part.
    pub result: Result<T, Arc<sqlx::Error>>,
}

/// Why a caller got nothing of a shared statement.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SharedError {
    /// It was not begun for this caller, or nobody knows how it ended.
    #[error(transparent)]
    NotDone(#[from] NotDone),
    /// The statement failed.
    #[error(transparent)]
    Database(Arc<sqlx::Error>),
}

/// As [`Traced::traced`], for a statement that another task carries out, perhaps for several callers at once: each of them has a span of it in its own trace,
/// from when it began to wait for its turn.
pub async fn shared<T>(
    operation: &'static str,
    table: &'static str,
    work: impl Future<Output = Result<Shared<T>, NotDone>>,
) -> Result<T, SharedError> {
    let mut call = call(operation, table);
    let done =
        work.await.inspect_err(|not_done| call.failed(not_done_kind(*not_done), not_done.to_string()))?;
    batch_size(&mut call, done.items);
    done.result.map_err(|error| {
        failed(&mut call, &error);
        SharedError::Database(error)
    })
}

async fn statement<T>(
    operation: &'static str,
    table: &'static str,
    items: usize,
    work: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    if !telemetry::is_sampled() {
        return work.await;
    }
    let mut call = call(operation, table);
    batch_size(&mut call, items);
    work.await.inspect_err(|error| failed(&mut call, error))
}

fn call(operation: &'static str, table: &'static str) -> Call {
    if !telemetry::is_sampled() {
        return Call::default();
    }
    let summary = if table.is_empty() { operation.to_owned() } else { format!("{operation} {table}") };
    Call::here(summary.clone(), SpanKind::Client, || {
        let mut all = vec![
            attribute(names::DB_SYSTEM_NAME, "postgresql"),
            attribute(names::DB_OPERATION_NAME, operation),
            attribute(names::DB_QUERY_SUMMARY, summary),
        ];
        if !table.is_empty() {
            all.push(attribute(names::DB_COLLECTION_NAME, table));
        }
        if let Some(server) = SERVER.get() {
            all.push(attribute(names::SERVER_ADDRESS, server.address.clone()));
            all.push(attribute(names::SERVER_PORT, i64::from(server.port)));
            all.extend(server.database.clone().map(|name| attribute(names::DB_NAMESPACE, name)));
        }
        all
    })
}

fn batch_size(call: &mut Call, items: usize) {
    if items > 1 {
        call.set(names::DB_OPERATION_BATCH_SIZE, i64::try_from(items).unwrap_or(i64::MAX));
    }
}

fn failed(call: &mut Call, error: &sqlx::Error) {
    match error.as_database_error().and_then(|error| error.code()) {
        Some(code) => {
            call.set(names::DB_RESPONSE_STATUS_CODE, code.clone().into_owned());
            call.failed(code.into_owned(), "the database refused the statement");
        }
        None => call.failed(kind(error), "the statement did not come through"),
    }
}

fn not_done_kind(not_done: NotDone) -> &'static str {
    match not_done {
        NotDone::Full => "full",
        NotDone::Late(_) => "late",
        NotDone::Unknown => "unknown",
    }
}

/// Of errors that the database did not name.
fn kind(error: &sqlx::Error) -> &'static str {
    match error {
        sqlx::Error::PoolTimedOut => "pool_timeout",
        sqlx::Error::Io(_) => "io",
        sqlx::Error::Tls(_) => "tls",
        sqlx::Error::RowNotFound => "row_not_found",
        _ => "_OTHER",
    }
}
