//! The order API as it runs anywhere else, with an empty handler beside it in the same process.

use std::fs::File;
use std::net::{SocketAddr, TcpListener as Port};
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use axum::Router;
use axum::body::Bytes;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use rustix::process::{Pid, Signal, kill_process};
use service_runtime::http::{self, Limits};
use telemetry::metrics::Metrics;
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use super::{Settings, ask};

/// What the empty handler answers: what the order API says of product 1.
pub(super) const ANSWER: &str = r#"{"success":true,"data":{"id":1,"name":"Product 1","price":29.99,"description":"Description of product 1"},"from_cache":true,"response_time_ms":0.002}"#;
/// Where the empty handler is.
pub(super) const EMPTY: &str = "/api/nothing";

/// For starting and for stopping.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(20);

/// The order API, and an empty handler on another port.
#[derive(Clone, clap::Args)]
// Not `Config`, as the order API's own is called.
#[group(id = "ProductsServer")]
pub struct Config {
    /// Its own settings.
    #[command(flatten)]
    pub order_api: order_api::Config,
    /// Where the empty handler listens: ip:port
    #[arg(long, value_name = "IP:PORT")]
    pub empty_addr: SocketAddr,
}

/// Runs both until a signal.
pub async fn serve(config: Config) -> ExitCode {
    let address = config.order_api.http_addr;
    service_runtime::process::main("order-api", address, async |listener, shutdown| {
        let answer = async || ([(CONTENT_TYPE, "application/json")], Bytes::from_static(ANSWER.as_bytes()));
        let empty = http::harden(Router::new().route(EMPTY, get(answer)), Limits::default(), &Metrics::new());
        let empty_listener = TcpListener::bind(config.empty_addr).await?;
        let (shop, empty) = tokio::join!(
            order_api::run(config.order_api, listener, shutdown.clone()),
            http::serve(empty_listener, empty, shutdown)
        );
        shop.and(empty)
    })
    .await
}

/// Free a moment ago: the program takes addresses and not sockets.
fn free_addresses() -> std::io::Result<[SocketAddr; 2]> {
    let (one, other) = (Port::bind("127.0.0.1:0")?, Port::bind("127.0.0.1:0")?);
    Ok([one.local_addr()?, other.local_addr()?])
}

/// Both in a process of their own. Killed when dropped.
#[derive(Debug)]
pub(super) struct Server {
    child: Child,
    pub(super) pid: i32,
    pub(super) shop: SocketAddr,
    pub(super) empty: SocketAddr,
}

impl Server {
    /// Starts it and waits until it is ready.
    pub(super) async fn start(settings: &Settings) -> anyhow::Result<Self> {
        let [shop, empty] = free_addresses()?;
        let log = File::create(&settings.log)
            .with_context(|| format!("{} cannot be written", settings.log.display()))?;
        let child = Command::new(std::env::current_exe()?)
            .args(["bench-products-server", "--empty-addr", &empty.to_string()])
            .args(["--http-addr", &shop.to_string(), "--redis-url", &settings.redis_url])
            .args(["--database-url", &settings.orders.orders_database_url])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .context("the order API cannot be started")?;
        let pid = i32::try_from(child.id().context("the order API has ended")?)?;
        let mut server = Self { child, pid, shop, empty };
        let deadline = Instant::now() + PATIENCE;
        while let Err(error) = ask(shop, "/health/ready").await {
            server.check()?;
            if Instant::now() > deadline {
                return Err(error).context(format!("the order API is not ready after {PATIENCE:?}"));
            }
            sleep(PAUSE).await;
        }
        Ok(server)
    }

    /// An error if it has ended by itself.
    pub(super) fn check(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait()? {
            Some(status) => bail!("the order API has ended by itself ({status})"),
            None => Ok(()),
        }
    }

    /// Asks it to end, and waits until it has.
    pub(super) async fn stop(mut self) -> anyhow::Result<()> {
        self.check()?;
        kill_process(Pid::from_raw(self.pid).context("the order API has no process")?, Signal::TERM)?;
        let status = timeout(PATIENCE, self.child.wait()).await.context("the order API does not stop")??;
        if !status.success() {
            bail!("the order API did not stop well ({status})");
        }
        Ok(())
    }
}
