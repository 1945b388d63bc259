//! A connection that stays with the relay between statements: the pool sends a ping down each one that comes back to it, which would be a
//! second round trip for every statement.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::{PgPool, Postgres};
use tokio::time::Instant;

/// One that was idle for longer goes back to the pool, which looks at a connection before it is used: the server may be another one by now, or
/// something between here and there may have forgotten it.
const TRUSTED_IDLE: Duration = Duration::from_millis(500);

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

    /// The connection that was kept, or another one.
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
