//! What is heard from writers and from other relays. Nothing rests on it: the relay polls as well.

use std::time::Duration;

use persistence::outbox::{CHANNEL, LEASES};
use sqlx::PgPool;
use sqlx::postgres::PgListener;
use tokio::sync::Notify;
use tracing::debug;

/// How long the database is left alone when it does not let us listen.
const COOL_DOWN: Duration = Duration::from_secs(1);

/// Reasons to look at the database before it is time.
#[derive(Debug, Default)]
pub(crate) struct Wake {
    /// Rows were committed.
    pub(crate) rows: Notify,
    /// Buckets became free.
    pub(crate) leases: Notify,
}

impl Wake {
    /// Listens for ever, on a connection of its own.
    pub(crate) async fn listen(&self, pool: &PgPool) {
        loop {
            if let Err(error) = self.until_lost(pool).await {
                debug!(%error, "cannot listen for new rows, polling");
            }
            tokio::time::sleep(COOL_DOWN).await;
        }
    }

    async fn until_lost(&self, pool: &PgPool) -> Result<(), sqlx::Error> {
        let mut listener = PgListener::connect_with(pool).await?;
        listener.listen(CHANNEL).await?;
        // Whatever was said before is not heard.
        self.rows.notify_one();
        while let Some(notification) = listener.try_recv().await? {
            if notification.payload() == LEASES {
                self.leases.notify_one();
            } else {
                self.rows.notify_one();
            }
        }
        Ok(())
    }
}
