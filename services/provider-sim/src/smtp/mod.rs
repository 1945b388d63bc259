//! The SMTP endpoint: takes mail for anybody and delivers it nowhere.

mod command;
mod lines;
mod message;
mod session;

use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::provider::Provider;

/// What one sender may take up.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at a time; one more is told to come back later.
    pub connections: usize,
    /// Bytes in a line, its end included. RFC 5321 allows 1,000 for text.
    pub line: usize,
    /// Bytes in a message.
    pub message: usize,
    /// Recipients of a message.
    pub recipients: usize,
    /// Time for a line to arrive; then the connection is closed.
    pub idle: Duration,
    /// Time for a whole message to arrive.
    pub transfer: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 2_048,
            line: 1_000,
            message: 1 << 20,
            recipients: 100,
            idle: Duration::from_secs(60),
            transfer: Duration::from_secs(300),
        }
    }
}

/// How long open sessions may take to come to an end at shutdown.
const DRAIN: Duration = Duration::from_secs(5);

/// Serves until `shutdown`, then lets messages in hand come to their answer.
pub async fn serve(
    listener: TcpListener,
    provider: Arc<Provider>,
    limits: Limits,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let places = Arc::new(Semaphore::new(limits.connections));
    let mut sessions = JoinSet::new();
    loop {
        tokio::select! {
            // Stopping first: a stream of new connections must not put it off.
            biased;
            () = shutdown.cancelled() => break,
            // Finished sessions are taken out before new ones come in, so that the set stays small.
            Some(_) = sessions.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => match Arc::clone(&places).try_acquire_owned() {
                    Ok(place) => {
                        let (provider, shutdown) = (Arc::clone(&provider), shutdown.clone());
                        sessions.spawn(async move {
                            if let Err(error) = session::serve(stream, &provider, &limits, &shutdown).await {
                                tracing::debug!(%error, "SMTP connection ended");
                            }
                            drop(place);
                        });
                    }
                    Err(_) => turn_away(stream).await,
                },
                Err(error) => {
                    tracing::warn!(%error, "cannot accept an SMTP connection");
                    // Out of file handles: trying again at once would only spin.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
        }
    }
    // Dropping the set ends what is still open after the deadline.
    let drained = timeout(DRAIN, async { while sessions.join_next().await.is_some() {} }).await;
    if drained.is_err() {
        tracing::warn!(sessions = sessions.len(), "SMTP sessions cut off at shutdown");
    }
    Ok(())
}

/// The answer fits into the socket's buffer, so this takes no time; the limit is for a socket that is broken.
async fn turn_away(mut stream: TcpStream) {
    let answer = stream.write_all(b"421 4.7.0 too many connections, try again later\r\n");
    let _ = timeout(Duration::from_millis(100), answer).await;
}
