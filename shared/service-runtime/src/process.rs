//! The frame around a service: from the first line of `main` to its exit code.

use std::future::Future;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::OnceLock;

use chrono::{DateTime, Utc};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

/// What is true of this process as long as it lives.
#[derive(Debug)]
pub(crate) struct Facts {
    /// When it started.
    pub(crate) started: DateTime<Utc>,
    /// The commit it was built from, as whoever started it says (`GIT_COMMIT`).
    pub(crate) commit: String,
}

/// Facts about this process; the first call fixes the start time.
pub(crate) fn facts() -> &'static Facts {
    static FACTS: OnceLock<Facts> = OnceLock::new();
    FACTS.get_or_init(|| Facts {
        started: Utc::now(),
        commit: std::env::var("GIT_COMMIT")
            .ok()
            .filter(|commit| !commit.is_empty())
            .unwrap_or("unknown".into()),
    })
}

/// Runs a service: telemetry, the listening socket, signals, `run`, flush.
///
/// The exit code is 0 after an orderly stop, 1 after a failure, 2 for a wrong setting.
pub async fn main<F, Fut>(name: &'static str, addr: SocketAddr, run: F) -> ExitCode
where
    F: FnOnce(TcpListener, CancellationToken) -> Fut,
    Fut: Future<Output = anyhow::Result<()>>,
{
    let facts = facts();
    let telemetry = match telemetry::init(name) {
        Ok(telemetry) => telemetry,
        Err(line) => {
            eprintln!("{line}");
            return ExitCode::from(2);
        }
    };
    std::panic::set_hook(Box::new(telemetry::log_panic));
    let code = match start(addr).await {
        Err(line) => {
            eprintln!("{name}: {line}");
            ExitCode::FAILURE
        }
        Ok((listener, shutdown)) => {
            info!(http.addr = %addr, version = env!("CARGO_PKG_VERSION"), commit = facts.commit, "started");
            match run(listener, shutdown).await {
                Ok(()) => {
                    info!("stopped");
                    ExitCode::SUCCESS
                }
                Err(failure) => {
                    error!(error = format!("{failure:#}"), "stopped by a failure");
                    ExitCode::FAILURE
                }
            }
        }
    };
    telemetry.flush().await;
    code
}

async fn start(addr: SocketAddr) -> Result<(TcpListener, CancellationToken), String> {
    let listener = TcpListener::bind(addr).await.map_err(|error| match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            format!(
                "cannot listen on {addr}: another process holds this port; stop it or set another address"
            )
        }
        _ => format!("cannot listen on {addr}: {error}"),
    })?;
    let signals = |kind| signal(kind).map_err(|error| format!("cannot listen for signals: {error}"));
    let (terminate, interrupt) = (signals(SignalKind::terminate())?, signals(SignalKind::interrupt())?);
    let shutdown = CancellationToken::new();
    // Ends with the process: there is nothing to join, and it must outlive a `run` that hangs.
    tokio::spawn(watch_signals(terminate, interrupt, shutdown.clone()));
    Ok((listener, shutdown))
}

/// The first signal asks for an orderly stop, the second one ends the process: an operator who asks twice means now.
async fn watch_signals(mut terminate: Signal, mut interrupt: Signal, shutdown: CancellationToken) {
    let mut next = async || {
        tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        }
    };
    let first = next().await;
    info!(signal = first, "stopping");
    shutdown.cancel();
    let second = next().await;
    info!(signal = second, "stopping at once");
    std::process::exit(1)
}
