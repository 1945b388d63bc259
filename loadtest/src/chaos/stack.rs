//! The processes of the stack, by way of `./dev`.

use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Command;

use super::target::Target;

/// `./dev` bounds every wait of its own; this is for a machine that hangs.
const PATIENCE: Duration = Duration::from_secs(300);

/// A stack that `./dev` started.
#[derive(Clone, Debug)]
pub(super) struct Stack {
    script: PathBuf,
    folder: PathBuf,
}

impl Stack {
    /// The stack in `folder`, which the script `./dev` knows from its environment.
    pub(super) fn new(script: PathBuf, folder: PathBuf) -> Self {
        Self { script, folder }
    }

    /// `SIGKILL`. Returns when the process and its children are gone.
    pub(super) async fn kill(&self, target: Target) -> anyhow::Result<()> {
        self.dev(&["stop", target.name(), "--kill"]).await
    }

    /// Asks the process to end and waits until it has.
    pub(super) async fn stop(&self, target: Target) -> anyhow::Result<()> {
        self.dev(&["stop", target.name()]).await
    }

    /// Starts the process and waits until it says that it is ready. Nothing happens if it runs already.
    pub(super) async fn start(&self, target: Target) -> anyhow::Result<()> {
        self.dev(&["start", target.name()]).await
    }

    /// Whether the process that `./dev` started is there.
    pub(super) fn is_running(&self, target: Target) -> bool {
        self.pid(target).is_ok()
    }

    /// `SIGSTOP` to the process and its children, the process first: it can make no more of them then.
    pub(super) fn freeze(&self, target: Target) -> anyhow::Result<()> {
        let pid = self.pid(target)?;
        signal(pid, Signal::STOP)?;
        for child in children(pid) {
            signal(child, Signal::STOP)?;
        }
        Ok(())
    }

    /// `SIGCONT` to the process and its children.
    pub(super) fn wake(&self, target: Target) -> anyhow::Result<()> {
        let pid = self.pid(target)?;
        for process in children(pid).into_iter().chain([pid]) {
            signal(process, Signal::CONT)?;
        }
        Ok(())
    }

    /// The process that `./dev` noted, if it is still that very process: a number alone may by now be another's.
    fn pid(&self, target: Target) -> anyhow::Result<Pid> {
        let folder = self.folder.join(if target.is_server() { "servers" } else { "run" });
        let file = folder.join(format!("{target}.pid"));
        let noted = fs::read_to_string(&file).with_context(|| format!("{target} was not started"))?;
        let (pid, started) = noted.trim().split_once(' ').context("no process in the pid file")?;
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        if start_time(&stat) != Some(started) {
            bail!("{target} has ended");
        }
        Pid::from_raw(pid.parse()?).context("the pid file names process 0")
    }

    /// Runs `./dev`; what it says goes to a file, since a process that it starts would keep a pipe open.
    async fn dev(&self, arguments: &[&str]) -> anyhow::Result<()> {
        let log = self.folder.join("chaos.log");
        let status = Command::new(&self.script)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(append(&log)?)
            .stderr(append(&log)?)
            .kill_on_drop(true)
            .status();
        let status = tokio::time::timeout(PATIENCE, status).await.context("./dev does not end")??;
        if !status.success() {
            bail!("./dev {} failed: {} says why", arguments.join(" "), log.display());
        }
        Ok(())
    }
}

fn append(path: &Path) -> anyhow::Result<File> {
    let opened = OpenOptions::new().create(true).append(true).open(path);
    opened.with_context(|| format!("cannot write {}", path.display()))
}

/// The start time in a line of `/proc/PID/stat`; `None` for a process that is gone or waits to be reaped.
fn start_time(stat: &str) -> Option<&str> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    // Field 22, counted from the state, which is field 3.
    if matches!(state, "Z" | "X") { None } else { fields.nth(18) }
}

fn children(pid: Pid) -> Vec<Pid> {
    let pid = pid.as_raw_nonzero();
    let list = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    list.split_whitespace().filter_map(|child| Pid::from_raw(child.parse().ok()?)).collect()
}

/// A process that has just ended needs no signal.
fn signal(pid: Pid, signal: Signal) -> anyhow::Result<()> {
    match kill_process(pid, signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(error).context("cannot send a signal"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_time_is_read_whatever_the_program_is_called() {
        let rest = "S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 777 20";
        assert_eq!(start_time(&format!("12 (a (b) c) {rest}")), Some("777"));
        assert_eq!(start_time(&format!("12 (name) {}", rest.replacen('S', "Z", 1))), None);
        assert_eq!(start_time(""), None);
    }
}
