//! The relay as it runs anywhere else: its program, in a process of its own.

use std::fs::{File, OpenOptions};
use std::net::{SocketAddr, TcpListener};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use super::Settings;

/// For starting and for stopping. A relay has migrations to apply at its first start, and a lease to give back at its end.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(20);

/// A relay that runs. Killed when dropped.
#[derive(Debug)]
pub(super) struct Relay {
    child: Child,
    pid: i32,
    address: SocketAddr,
}

impl Relay {
    /// Starts it, and does not wait until it is ready.
    pub(super) fn spawn(settings: &Settings) -> anyhow::Result<Self> {
        // Free a moment ago: the program takes an address and not a socket.
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let common = &settings.common;
        let child = Command::new(&settings.relay)
            .env("ORDERS_DATABASE_URL", &common.orders.orders_database_url)
            .env("KAFKA_BROKERS", &common.kafka.brokers)
            .env("OUTBOX_RELAY_ADDR", address.to_string())
            .stdin(Stdio::null())
            .stdout(log(settings)?)
            .stderr(log(settings)?)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("{} cannot be started", settings.relay.display()))?;
        let pid = i32::try_from(child.id().context("the relay has ended")?)?;
        Ok(Self { child, pid, address })
    }

    /// Starts it and waits until it says that it is ready.
    pub(super) async fn start(settings: &Settings) -> anyhow::Result<Self> {
        let mut relay = Self::spawn(settings)?;
        let url = format!("http://{}/health/ready", relay.address);
        let client = reqwest::Client::builder().timeout(Duration::from_secs(2)).build()?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            relay.check()?;
            let answer = client.get(&url).send().await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return Ok(relay);
            }
            if Instant::now() > deadline {
                bail!("the relay is not ready after {PATIENCE:?}");
            }
            sleep(PAUSE).await;
        }
    }

    /// Its process id.
    pub(super) fn pid(&self) -> i32 {
        self.pid
    }

    /// An error if it has ended by itself.
    pub(super) fn check(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait()? {
            Some(status) => bail!("the relay has ended by itself ({status})"),
            None => Ok(()),
        }
    }

    /// Asks it to end, and waits until it has.
    pub(super) async fn stop(mut self) -> anyhow::Result<()> {
        self.check()?;
        kill_process(Pid::from_raw(self.pid).context("the relay has no process")?, Signal::TERM)?;
        let status = timeout(PATIENCE, self.child.wait()).await.context("the relay does not stop")??;
        if !status.success() {
            bail!("the relay did not stop well ({status})");
        }
        Ok(())
    }
}

/// All relays of a run write to one file, one after the other.
fn log(settings: &Settings) -> anyhow::Result<File> {
    let path = settings.folder.join("relay.log");
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path)
        .with_context(|| format!("no file {}", path.display()))
}
