//! A connection that stays with the relay between statements: the pool sends a ping down each one that comes back to it, which would be a
//! second round trip for every statement.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sqlx::pool::PoolConnection;
use sqlx::{PgPool, Postgres};

#[derive(Clone, Debug)]
pub(super) struct Kept {
    pool: PgPool,
    connection: Arc<Mutex<Option<PoolConnection<Postgres>>>>,
}

impl Kept {
    pub(super) fn new(pool: PgPool) -> Self {
        Self { pool, connection: Arc::default() }
    }

    /// The connection that was kept, or another one.
    pub(super) async fn connection(&self) -> Result<PoolConnection<Postgres>, sqlx::Error> {
        let kept = self.slot().take();
        match kept {
            Some(connection) => Ok(connection),
            None => self.pool.acquire().await,
        }
    }

    /// Keeps a connection for the next statement. One on which a statement failed is not to be kept: the pool looks at it.
    pub(super) fn keep(&self, connection: PoolConnection<Postgres>) {
        *self.slot() = Some(connection);
    }

    fn slot(&self) -> MutexGuard<'_, Option<PoolConnection<Postgres>>> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
