//! A consumer that runs while something is measured.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use messaging::consumer::{self, BatchHandler, ConsumerError, ConsumerSettings, ConsumerStatus, Decode};
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::journal::{Journal, Worker};
use super::stage::PATIENCE;
use super::ticket::Ticket;

/// Between two looks at a condition.
const LOOK: Duration = Duration::from_millis(5);

/// Leaves its group when it is dropped.
pub(super) struct Member {
    status: ConsumerStatus,
    handled: Arc<AtomicU64>,
    stop: DropGuard,
    task: JoinHandle<Result<(), ConsumerError>>,
}

impl Member {
    /// Works on tickets.
    pub(super) fn working(settings: ConsumerSettings, journal: Arc<Journal>) -> Self {
        let handled = Arc::new(AtomicU64::new(0));
        let worker = Worker { journal, handled: handled.clone() };
        Self::spawn(handled, |status, stop| consumer::run(settings, Ticket::read, worker, status, stop))
    }

    /// Takes batches.
    pub(super) fn batching<H: BatchHandler, E: std::fmt::Display + 'static>(
        settings: ConsumerSettings,
        decode: Decode<H::Event, E>,
        handler: H,
    ) -> Self {
        Self::spawn(Arc::default(), |status, stop| {
            consumer::run_batches(settings, decode, handler, status, stop)
        })
    }

    fn spawn<F>(handled: Arc<AtomicU64>, run: impl FnOnce(ConsumerStatus, CancellationToken) -> F) -> Self
    where
        F: Future<Output = Result<(), ConsumerError>> + Send + 'static,
    {
        let (status, stop) = (ConsumerStatus::default(), CancellationToken::new());
        let task = tokio::spawn(run(status.clone(), stop.clone()));
        Self { status, handled, stop: stop.drop_guard(), task }
    }

    pub(super) fn has_joined(&self) -> bool {
        self.status.ready().is_ok()
    }

    /// Whether it was given something to do.
    pub(super) fn has_worked(&self) -> bool {
        self.handled.load(Ordering::Relaxed) > 0
    }

    /// Waits for `done`, unless the consumer ends before, or it takes longer than `limit`.
    pub(super) async fn until<T>(
        &mut self,
        limit: Duration,
        done: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<T> {
        tokio::select! {
            biased;
            ended = &mut self.task => {
                ended?.context("the consumer failed")?;
                bail!("the consumer ended before its work");
            }
            done = tokio::time::timeout(limit, done) => {
                done.with_context(|| format!("not done within {limit:?}: {:?}", self.status))?
            }
        }
    }

    /// Drains, commits and leaves the group.
    pub(super) async fn leave(self) -> anyhow::Result<()> {
        drop(self.stop);
        let ended = tokio::time::timeout(PATIENCE, self.task).await.context("the consumer did not leave")?;
        Ok(ended??)
    }
}

/// Waits until something is so, with a bound.
///
/// # Errors
/// It was not in time.
pub(super) async fn eventually(what: &str, condition: impl Fn() -> bool) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        if Instant::now() > deadline {
            bail!("not within {PATIENCE:?}: {what}");
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}
