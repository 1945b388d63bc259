//! Waking the relay after a commit.

use std::time::Duration;

use sqlx::PgPool;
use tokio::sync::mpsc;
use tracing::debug;

use crate::pool::BadDatabaseUrl;

/// The channel on which relays listen.
pub const CHANNEL: &str = "outbox";
/// What a notification says that is about leases. Pokes say nothing.
pub const LEASES: &str = "leases";

/// Pokes of one process are at least this far apart; what comes in between is one poke.
const SPACING: Duration = Duration::from_millis(5);
/// A poke that takes longer is given up: the relay polls as well.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long the database is left alone after a poke failed.
const COOL_DOWN: Duration = Duration::from_secs(1);

/// Tells relays that rows were committed. Cheap to clone.
///
/// To be called after the commit. A `NOTIFY` within the writing transaction would make all commits of the server queue for one lock.
#[derive(Clone, Debug)]
pub struct Poke(mpsc::Sender<()>);

/// Sends the pokes, on a connection of its own.
#[derive(Debug)]
pub struct Poker {
    pool: PgPool,
    pending: mpsc::Receiver<()>,
}

impl Poke {
    /// A poke for the outbox at `url`, and the task that carries it out. Connects in the background.
    pub fn new(url: &str, application: &str) -> Result<(Self, Poker), BadDatabaseUrl> {
        let pool = crate::pool::connect_lazy_with(url, 1, application, &[("synchronous_commit", "off")])?;
        // One place: a poke that is pending already covers this commit too.
        let (sender, pending) = mpsc::channel(1);
        Ok((Self(sender), Poker { pool, pending }))
    }

    /// Asks for a poke. Returns at once, never waits and never fails: a relay that is not woken polls.
    pub fn poke(&self) {
        // Full means that one is pending.
        let _ = self.0.try_send(());
    }
}

impl Poker {
    /// Runs until every [`Poke`] is gone.
    pub async fn run(mut self) {
        while self.pending.recv().await.is_some() {
            let poke = sqlx::query!("SELECT pg_notify($1, '')", CHANNEL).fetch_one(&self.pool);
            let pause = match tokio::time::timeout(PATIENCE, poke).await {
                Ok(Ok(_)) => SPACING,
                Ok(Err(error)) => {
                    debug!(%error, "the relay was not woken, it polls");
                    COOL_DOWN
                }
                Err(_) => COOL_DOWN,
            };
            tokio::time::sleep(pause).await;
        }
    }
}
