//! How long the database may take.

use std::io;
use std::time::Duration;

/// Longer than any healthy database takes, and together short of the limit on the whole request (15 s): a database that is frozen rather than gone
/// still gets the caller an answer that says what is known.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For an order's turn, when many wait; it has two, one for its prices and one to be written.
    pub turn: Duration,
    /// For reading.
    pub read: Duration,
    /// For writing a group of orders, whatever that takes.
    pub write: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { turn: seconds(1), read: seconds(3), write: seconds(5) }
    }
}

/// An answer that does not come within `patience` is an error as if the connection had failed.
pub(crate) async fn within<T>(
    patience: Duration,
    work: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    let silence = |_| io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {patience:?}"));
    tokio::time::timeout(patience, work).await.map_err(silence)?
}
