//! A connection that stays with the relay between statements: the pool sends a ping down each one that comes back to it, which would be a
//! second round trip for every statement.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use persistence::pool::TRUSTED_IDLE;
use sqlx::pool::PoolConnection;
use sqlx::{PgPool, Postgres};
use tokio::time::Instant;

type Held = (PoolConnection<Postgres>, Instant);

#[derive(Clone, Debug)]
pub(super) struct Kept {
    pool: PgPool,
    connection: Arc<Mutex<Option<Held>>>,
}

impl Kept {
    pub(super) fn new(pool: PgPool) -> Self {
        Self { pool, connection: Arc::default() }
    }

    /// The connection that was kept. If it was idle for too long it goes back to the pool, which looks at one before it gives it out: the server
    /// may be another one by now.
    pub(super) async fn connection(&self) -> Result<PoolConnection<Postgres>, sqlx::Error> {
        let kept = self.slot().take();
        match kept {
            Some((connection, since)) if since.elapsed() < TRUSTED_IDLE => Ok(connection),
            _ => self.pool.acquire().await,
        }
    }

    /// Keeps a connection for the next statement. One on which a statement failed is not to be kept: the pool looks at it.
    pub(super) fn keep(&self, connection: PoolConnection<Postgres>) {
        *self.slot() = Some((connection, Instant::now()));
    }

    fn slot(&self) -> MutexGuard<'_, Option<Held>> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
