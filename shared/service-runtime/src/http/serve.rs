//! The accept loop: everything a connection may do has a bound.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

/// What all connections together, and each of them between two requests, may take.
#[derive(Clone, Copy, Debug)]
pub struct ServeLimits {
    /// Connections held at once. Further ones wait in the kernel's queue: more memory here, or later answers there.
    pub connections: usize,
    /// How long a connection may take from the end of an answer (or from its start) to the end of the next request head. It cuts
    /// off slow senders and idle connections alike; a smaller value makes idle clients reconnect more often.
    pub head_time: Duration,
    /// Largest request head. A longer one is answered 431.
    pub head_bytes: usize,
    /// How long requests in flight may take to end after the stop began.
    pub drain_time: Duration,
}

impl Default for ServeLimits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            head_time: Duration::from_secs(15),
            head_bytes: 64 * 1024,
            drain_time: Duration::from_secs(8),
        }
    }
}

/// Serves `router` until `shutdown`, then lets the requests in flight end.
pub async fn serve(listener: TcpListener, router: Router, shutdown: CancellationToken) -> anyhow::Result<()> {
    serve_with(listener, router, shutdown, ServeLimits::default()).await
}

/// [`serve`] with limits of one's own.
pub async fn serve_with(
    listener: TcpListener,
    router: Router,
    shutdown: CancellationToken,
    limits: ServeLimits,
) -> anyhow::Result<()> {
    let permits = Arc::new(Semaphore::new(limits.connections));
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            // The stop comes first: under load there is always another connection.
            biased;
            () = shutdown.cancelled() => break,
            accepted = accept(&listener, &permits) => accepted,
            Some(_) = connections.join_next() => continue,
        };
        let Some((stream, permit)) = accepted else { continue };
        // Answers are written in one piece; waiting for more to send only delays them.
        if let Err(error) = stream.set_nodelay(true) {
            debug!(%error, "connection is gone already");
            continue;
        }
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.head_time)
            .max_buf_size(limits.head_bytes)
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router.clone()));
        let connection = graceful.watch(connection);
        connections.spawn(async move {
            let _permit = permit;
            if let Err(error) = connection.await {
                // The other side went away or sent no HTTP: its business, not a failure of ours.
                debug!(%error, "connection ended");
            }
        });
    }
    drop(listener);
    if tokio::time::timeout(limits.drain_time, graceful.shutdown()).await.is_err() {
        warn!(http.connections = connections.len(), "requests did not end in time, cutting them off");
    }
    connections.shutdown().await;
    Ok(())
}

/// The next connection, once there is room for it. `None`: nobody came, try again.
async fn accept(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    let permit = permits.clone().acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => Some((stream, permit)),
        Err(error) => {
            let only_that_one = matches!(
                error.kind(),
                ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::ConnectionRefused
            );
            if !only_that_one {
                // Out of file descriptors or memory: without a pause this loop would spin until some come free.
                warn!(%error, "cannot accept connections");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            None
        }
    }
}

#[cfg(test)]
mod tests;
