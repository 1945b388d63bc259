//! Reads of products that are in the cache, beside an empty handler of the same process; and how long a changed product is shown as it was.

mod client;
mod reference;
mod server;
mod speed;
mod staleness;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use tokio::time::timeout;

use super::Output;
use super::progress;
use super::report::Figure;
use crate::config::OrdersDatabase;
use client::Connection;
pub use server::Config as ServerConfig;
use server::Server;
pub use server::serve;

/// What to measure, and with what.
#[derive(Clone, clap::Args)]
pub struct Settings {
    /// What comes out, and how much.
    #[command(flatten)]
    pub output: Output,
    /// Process id of Redis
    #[arg(long, value_name = "NUMBER")]
    pub redis_pid: i32,
    /// Redis: redis://host:port
    #[arg(long, env = "REDIS_URL", hide_env_values = true, default_value = "redis://127.0.0.1:16379")]
    pub redis_url: String,
    /// redis-benchmark, for a figure of Redis alone
    #[arg(long, value_name = "FILE")]
    pub redis_benchmark: Option<PathBuf>,
    /// Where the order API with the empty handler beside it writes its log
    #[arg(long, value_name = "FILE")]
    pub log: PathBuf,
    /// The database.
    #[command(flatten)]
    pub orders: OrdersDatabase,
}

/// An answer that takes longer is no figure but a failure.
const PATIENCE: Duration = Duration::from_secs(10);

/// How much of it.
#[derive(Clone, Copy, Debug)]
struct Extent {
    /// Clients with kept connections, each with one request at a time.
    clients: usize,
    /// How often each side has its turn.
    rounds: usize,
    /// How long a turn is.
    turn: Duration,
    /// How many changes are made while readers look.
    changes: i64,
}

impl Extent {
    fn new(quick: bool) -> Self {
        let (rounds, turn, changes) =
            if quick { (2, Duration::from_secs(1), 40) } else { (8, Duration::from_secs(3), 200) };
        Self { clients: 16, rounds, turn, changes }
    }
}

/// Measures.
///
/// # Errors
/// An answer is wrong, a product was shown as it was after somebody had seen the change, or a process that takes part failed.
pub async fn measure(settings: &Settings) -> anyhow::Result<Vec<Figure>> {
    let extent = Extent::new(settings.output.quick);
    let mut server = Server::start(settings).await?;
    progress("speed: products from the warm cache, and an empty handler, in turns");
    let mut figures = speed::measure(&server, settings.redis_pid, extent).await.context("speed")?;
    server.check()?;
    progress("staleness: products change while they are read");
    figures.extend(staleness::measure(&server, settings, extent).await.context("staleness")?);
    server.stop().await?;
    if let Some(program) = &settings.redis_benchmark {
        progress("reference: GET of Redis alone");
        figures.push(reference::redis(program, settings, extent).await.context("redis-benchmark")?);
    }
    // What is aimed at holds for the long form.
    let aimed = |figure| if settings.output.quick { Figure { target: None, ..figure } } else { figure };
    Ok(figures.into_iter().map(aimed).collect())
}

/// A request that is sent as it stands.
fn request(address: SocketAddr, path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nAccept: application/json\r\n\r\n").into_bytes()
}

/// The answer to one request on a connection of its own.
async fn ask(address: SocketAddr, path: &str) -> anyhow::Result<String> {
    let request = request(address, path);
    let asking = async {
        let mut connection = Connection::open(address).await?;
        Ok(String::from_utf8(connection.ask(&request).await?.to_vec())?)
    };
    timeout(PATIENCE, asking).await.context("an answer does not come")?
}
