//! The components of a process stand and fall together.

use std::collections::HashMap;
use std::future::Future;
use std::time::Duration;

use anyhow::{Context, anyhow};
use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::error;

/// How long the components may take to stop once they were told to.
const DRAIN_DEADLINE: Duration = Duration::from_secs(10);

/// Runs components until one of them ends or the process is told to stop; then stops the others and waits for them.
///
/// A component that returns before it is told to is a failure, whatever it returns: a process whose half is missing looks alive
/// and does no work.
pub struct Supervisor {
    shutdown: CancellationToken,
    components: JoinSet<anyhow::Result<()>>,
    names: HashMap<Id, &'static str>,
    deadline: Duration,
}

impl Supervisor {
    /// A supervisor that stops with `shutdown`, and cancels it when a component ends.
    pub fn new(shutdown: CancellationToken) -> Self {
        Self { shutdown, components: JoinSet::new(), names: HashMap::new(), deadline: DRAIN_DEADLINE }
    }

    /// Starts a component. It is expected to return soon after the token is cancelled, and not before.
    pub fn spawn(
        &mut self,
        name: &'static str,
        component: impl Future<Output = anyhow::Result<()>> + Send + 'static,
    ) {
        let handle = self.components.spawn(component);
        self.names.insert(handle.id(), name);
    }

    /// Waits for the end. The error is that of the component that failed first.
    pub async fn run(mut self) -> anyhow::Result<()> {
        let mut first_failure = None;
        let stop = self.shutdown.clone();
        loop {
            tokio::select! {
                // A component that ended is looked at first, so that its failure is not hidden by a simultaneous stop.
                biased;
                ended = self.components.join_next_with_id() => match ended {
                    None => break,
                    Some(ended) => self.note(ended, &mut first_failure),
                },
                () = stop.cancelled() => break,
            }
        }
        if tokio::time::timeout(self.deadline, self.drain(&mut first_failure)).await.is_err() {
            let stuck: Vec<_> = self.names.values().copied().collect();
            self.components.shutdown().await;
            let failure = anyhow!("did not stop within {:?}: {}", self.deadline, stuck.join(", "));
            first_failure.get_or_insert(failure);
        }
        first_failure.map_or(Ok(()), Err)
    }

    async fn drain(&mut self, first_failure: &mut Option<anyhow::Error>) {
        while let Some(ended) = self.components.join_next_with_id().await {
            self.note(ended, first_failure);
        }
    }

    fn note(
        &mut self,
        ended: Result<(Id, anyhow::Result<()>), JoinError>,
        first_failure: &mut Option<anyhow::Error>,
    ) {
        let id = ended.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
        let name = self.names.remove(&id).unwrap_or("unknown");
        let result = match ended {
            Ok((_, Ok(()))) if self.shutdown.is_cancelled() => Ok(()),
            Ok((_, Ok(()))) => Err(anyhow!("{name} ended early")),
            Ok((_, Err(failure))) => Err(failure).with_context(|| format!("{name} failed")),
            Err(_panic) => Err(anyhow!("{name} panicked")),
        };
        if let Err(failure) = result {
            if first_failure.is_none() {
                *first_failure = Some(failure);
            } else {
                error!(component = name, error = format!("{failure:#}"), "component failed while stopping");
            }
            self.shutdown.cancel();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn until(token: CancellationToken) -> anyhow::Result<()> {
        token.cancelled().await;
        Ok(())
    }

    #[tokio::test]
    async fn a_stop_ends_all_components_without_a_failure() {
        let token = CancellationToken::new();
        let mut supervisor = Supervisor::new(token.clone());
        supervisor.spawn("a", until(token.clone()));
        supervisor.spawn("b", until(token.clone()));
        token.cancel();
        supervisor.run().await.expect("clean stop");
    }

    #[tokio::test]
    async fn a_component_that_fails_or_ends_early_stops_the_others_and_is_named() {
        let ends = ["ended early", "failed: no broker", "panicked"];
        for expected in ends {
            let token = CancellationToken::new();
            let mut supervisor = Supervisor::new(token.clone());
            supervisor.spawn("server", until(token.clone()));
            supervisor.spawn("worker", async move {
                match expected {
                    "ended early" => Ok(()),
                    "panicked" => panic!("on purpose"),
                    _ => Err(anyhow!("no broker")),
                }
            });
            let failure = supervisor.run().await.expect_err("failure");
            assert_eq!(format!("{failure:#}"), format!("worker {expected}"));
            assert!(token.is_cancelled());
        }
    }

    #[tokio::test]
    async fn a_component_that_does_not_stop_is_named_and_given_up() {
        let token = CancellationToken::new();
        let mut supervisor = Supervisor::new(token.clone());
        supervisor.deadline = Duration::from_millis(50);
        supervisor.spawn("stuck", std::future::pending());
        token.cancel();
        let failure = supervisor.run().await.expect_err("failure");
        assert_eq!(failure.to_string(), "did not stop within 50ms: stuck");
    }
}
