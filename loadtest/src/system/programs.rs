//! The programs of the system as they run anywhere else, each in a process of its own.

use std::fs::{File, OpenOptions};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

/// For starting and for stopping all of them.
const PATIENCE: Duration = Duration::from_secs(90);
const PAUSE: Duration = Duration::from_millis(50);
/// Those who do what no caller waits for. They are started so that they leave the processors to the others, as under `./dev up`; there each has a session
/// of its own, whose niceness counts where the kernel shares processors out by session, and here all have this process's.
const GIVE_WAY: [&str; 5] =
    ["email-consumer", "sms-consumer", "inventory-consumer", "analytics-consumer", "provider-sim"];
/// How far they do, from 1 to 19 (`nice`): the weight of 10 is about a tenth of that of 0.
const NICENESS: &str = "10";

/// Where the programs listen, as their own settings say.
#[derive(Clone, Debug, clap::Args)]
pub struct Addresses {
    /// order-api
    #[arg(long, env = "ORDER_API_ADDR", value_name = "IP:PORT")]
    pub order_api_addr: SocketAddr,
    /// outbox-relay
    #[arg(long, env = "OUTBOX_RELAY_ADDR", value_name = "IP:PORT")]
    pub outbox_relay_addr: SocketAddr,
    /// email-consumer
    #[arg(long, env = "EMAIL_ADDR", value_name = "IP:PORT")]
    pub email_addr: SocketAddr,
    /// sms-consumer
    #[arg(long, env = "SMS_ADDR", value_name = "IP:PORT")]
    pub sms_addr: SocketAddr,
    /// inventory-consumer
    #[arg(long, env = "INVENTORY_ADDR", value_name = "IP:PORT")]
    pub inventory_addr: SocketAddr,
    /// analytics-consumer
    #[arg(long, env = "ANALYTICS_ADDR", value_name = "IP:PORT")]
    pub analytics_addr: SocketAddr,
    /// provider-sim
    #[arg(long, env = "PROVIDER_SIM_ADDR", value_name = "IP:PORT")]
    pub provider_sim_addr: SocketAddr,
}

impl Addresses {
    /// Each with its program.
    pub(crate) fn named(&self) -> [(&'static str, SocketAddr); 7] {
        [
            ("order-api", self.order_api_addr),
            ("outbox-relay", self.outbox_relay_addr),
            ("email-consumer", self.email_addr),
            ("sms-consumer", self.sms_addr),
            ("inventory-consumer", self.inventory_addr),
            ("analytics-consumer", self.analytics_addr),
            ("provider-sim", self.provider_sim_addr),
        ]
    }
}

/// How programs are started.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Launch<'a> {
    /// The folder with the programs.
    pub(crate) programs: &'a Path,
    /// The folder where their logs go.
    pub(crate) logs: &'a Path,
    /// Settings that differ from those of this very process.
    pub(crate) settings: &'a [(&'static str, String)],
}

/// A program that runs. Killed when dropped.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) name: &'static str,
    pub(crate) address: SocketAddr,
    pub(crate) pid: i32,
    child: Child,
}

/// Starts programs by their names and waits until they say that they are ready.
pub(crate) async fn start(
    launch: Launch<'_>,
    processes: &[(&'static str, SocketAddr)],
) -> anyhow::Result<Vec<Program>> {
    let mut programs = Vec::new();
    for (name, address) in processes {
        programs.push(Program::spawn(launch, name, *address)?);
    }
    let client = reqwest::Client::builder().timeout(Duration::from_secs(2)).build()?;
    let deadline = Instant::now() + PATIENCE;
    for program in &mut programs {
        let url = format!("http://{}/health/ready", program.address);
        while !client.get(&url).send().await.is_ok_and(|answer| answer.status().is_success()) {
            program.check()?;
            if Instant::now() > deadline {
                bail!("{} is not ready after {PATIENCE:?}", program.name);
            }
            sleep(PAUSE).await;
        }
    }
    Ok(programs)
}

/// Asks all of them to end, and waits until they have.
pub(crate) async fn stop(mut programs: Vec<Program>) -> anyhow::Result<()> {
    for program in &mut programs {
        program.check()?;
        let pid = Pid::from_raw(program.pid).with_context(|| format!("{} has no process", program.name))?;
        kill_process(pid, Signal::TERM)?;
    }
    for mut program in programs {
        let name = program.name;
        let ended = timeout(PATIENCE, program.child.wait()).await;
        let status = ended.with_context(|| format!("{name} does not stop"))??;
        if !status.success() {
            bail!("{name} did not stop well ({status})");
        }
    }
    Ok(())
}

impl Program {
    fn spawn(launch: Launch<'_>, name: &'static str, address: SocketAddr) -> anyhow::Result<Self> {
        let log = launch.logs.join(format!("{name}.log"));
        let child = command(name, launch.programs)
            .envs(launch.settings.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(append(&log)?)
            .stderr(append(&log)?)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("{name} cannot be started"))?;
        let pid = i32::try_from(child.id().with_context(|| format!("{name} has ended"))?)?;
        Ok(Self { name, address, pid, child })
    }

    /// An error if it has ended by itself.
    pub(crate) fn check(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait()? {
            Some(status) => bail!("{} has ended by itself ({status})", self.name),
            None => Ok(()),
        }
    }
}

/// What starts a program of `folder`.
fn command(name: &str, folder: &Path) -> Command {
    let program = folder.join(name);
    if !GIVE_WAY.contains(&name) {
        return Command::new(program);
    }
    let mut nice = Command::new("nice");
    nice.args(["-n", NICENESS]).arg(program);
    nice
}

/// The log of all starts of a program, one after the other.
fn append(path: &Path) -> anyhow::Result<File> {
    let opened = OpenOptions::new().create(true).append(true).open(path);
    opened.with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_behind_kafka_gives_way_to_those_who_take_orders() {
        let line = |name| {
            let command = command(name, Path::new("/programs"));
            let words = std::iter::once(command.as_std().get_program()).chain(command.as_std().get_args());
            words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(line("email-consumer"), "nice -n 10 /programs/email-consumer");
        assert_eq!(line("order-api"), "/programs/order-api");
        assert_eq!(line("outbox-relay"), "/programs/outbox-relay");
    }
}
