//! How long the database may take.

use std::io;
use std::time::Duration;

/// Longer than any healthy database takes, and together short of the limit on the whole request: a database that is frozen rather than gone
/// still gets the caller an answer that says what is known.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);
/// For a turn, when many wait.
pub(crate) const TURN: Duration = Duration::from_secs(2);

/// An answer that does not come in time is an error as if the connection had failed.
pub(crate) async fn in_time<T>(work: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, sqlx::Error> {
    let silence = |_| io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {PATIENCE:?}"));
    tokio::time::timeout(PATIENCE, work).await.map_err(silence)?
}
