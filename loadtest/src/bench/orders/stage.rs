//! The running system, and one load on it from the first request to the last effect.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::Instant;

use super::clients::Tally;
use crate::bench::report::Spent;
use crate::system::meters::Counts;
use crate::system::running::Running;

/// The system with the count of all orders that it took.
pub(super) struct Stage {
    pub(super) running: Running,
    pub(super) shop: SocketAddr,
    /// Orders accepted so far, for the audit.
    pub(super) accepted: u64,
}

/// What came of a load.
pub(super) struct Outcome {
    pub(super) tally: Tally,
    /// From the first request to the last effect.
    pub(super) whole: Duration,
    /// What everybody used in that time.
    pub(super) spent: Spent,
    /// Bytes of the write-ahead log that were written in that time, for all databases.
    pub(super) wal: u64,
}

impl Outcome {
    /// Orders per second that went through with all effects, from the first request to the last effect.
    pub(super) fn whole_rate(&self) -> f64 {
        self.tally.count() as f64 / self.whole.as_secs_f64().max(1e-9)
    }
}

impl Stage {
    /// Puts `load` on the system and waits until all that it accepted had its effects.
    pub(super) async fn put(
        &mut self,
        load: impl AsyncFnOnce(&Running, &Counts) -> anyhow::Result<Tally>,
    ) -> anyhow::Result<Outcome> {
        self.running.checkpoint().await?;
        let before = self.running.counts().await?;
        let wal = self.running.wal().await?;
        let (began, used) = (Instant::now(), self.running.watched.read()?);
        let tally = load(&self.running, &before).await?;
        let whole = self.running.effects(&before, tally.count(), began).await?;
        self.accepted += tally.count();
        let spent = self.running.watched.since(&used, tally.count())?;
        let wal = self.running.wal().await? - wal;
        Ok(Outcome { tally, whole, spent, wal })
    }
}
