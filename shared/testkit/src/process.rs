//! A service as a real process: started, asked for its health, killed, stopped, started again.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use uuid::Uuid;

use crate::leftovers::{self, Leftover};
use crate::{PATIENCE, binaries, eventually, required, within};

/// What is kept of the surrounding environment. The rest could change a service's settings behind the test's back.
const INHERITED: [&str; 6] = ["PATH", "HOME", "TMPDIR", "LANG", "RUST_BACKTRACE", "LD_LIBRARY_PATH"];
/// How many lines of a service's log a failed test shows: the last ones, and as many of the last warnings and errors before them.
const LOG_TAIL: usize = 6;
/// How much of such a line it shows.
const LOG_LINE: usize = 400;

/// A running service. Killed when dropped, and also when the test process dies without dropping anything.
pub struct Process {
    binary: String,
    address: SocketAddr,
    settings: BTreeMap<String, String>,
    log: PathBuf,
    child: Option<(Child, Leftover)>,
}

impl Process {
    /// Starts `binary` (built first if need be) with `settings` as its environment, and waits for `/health/ready`.
    ///
    /// It listens on a free port unless the settings give its address. The address setting is the binary's name
    /// without `-consumer`, in capitals: `ORDER_API_ADDR`, `EMAIL_ADDR`.
    pub async fn spawn(binary: &str, settings: &[(&str, &str)]) -> Self {
        let process = Self::spawn_unready(binary, settings).await;
        process.ready().await;
        process
    }

    /// As [`Process::spawn`], but does not wait: for a service whose dependencies are away.
    pub async fn spawn_unready(binary: &str, settings: &[(&str, &str)]) -> Self {
        let owned = binary.to_owned();
        let built = tokio::task::spawn_blocking(move || binaries::build(&[&owned])).await;
        required(built.context("the build panicked"));

        let mut settings: BTreeMap<String, String> =
            settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let address = settings
            .entry(address_setting(binary))
            .or_insert_with(|| format!("127.0.0.1:{}", crate::free_port()))
            .parse();
        let address = required(address.with_context(|| format!("the address of {binary}")));
        settings.entry("LOG_LEVEL".to_owned()).or_insert_with(|| "info".to_owned());
        let log = leftovers::folder().join(format!("{binary}-{}.log", Uuid::new_v4().simple()));
        let mut process = Self { binary: binary.to_owned(), address, settings, log, child: None };
        required(process.start());
        process
    }

    fn start(&mut self) -> Result<()> {
        let log = OpenOptions::new().create(true).append(true).open(&self.log)?;
        let child = Command::new(binaries::path(&self.binary)?)
            .env_clear()
            .envs(INHERITED.into_iter().filter_map(|name| Some((name, std::env::var(name).ok()?))))
            .envs(&self.settings)
            .current_dir(leftovers::folder())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {}", self.binary))?;
        let leftover = Leftover::register(&format!("kill -9 {} || true", child.id()))?;
        self.child = Some((child, leftover));
        Ok(())
    }

    /// Waits until the service says that it can serve; a service that ends instead fails the test with its log.
    pub async fn ready(&self) {
        let url = self.url("/health/ready");
        let what = format!("{} is ready", self.binary);
        eventually(&what, async || {
            if !self.is_running() {
                panic!("{} ended instead of becoming ready:\n{}", self.binary, self.log_tail());
            }
            match reqwest::get(&url).await {
                Ok(response) if response.status().is_success() => Ok(()),
                Ok(response) => {
                    Err(format!("{}: {}", response.status(), response.text().await.unwrap_or_default()))
                }
                Err(error) => Err(format!("{error:?}")),
            }
        })
        .await;
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of a path, which starts with `/`.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The process id, while there is a process.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(|(child, _)| child.id())
    }

    /// Whether the process is still there.
    pub fn is_running(&self) -> bool {
        // A child that ended stays a zombie until it is waited for; /proc tells the two apart without waiting.
        let Some(pid) = self.pid() else { return false };
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.trim_start().starts_with('Z'))
    }

    /// SIGKILL: what a crash or the kernel's out-of-memory killer does. Returns when the process is gone.
    pub fn kill9(&mut self) {
        if let Some((mut child, _leftover)) = self.child.take() {
            // It may have ended by itself; waiting for it is what matters.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// SIGTERM, and the exit status.
    pub async fn terminate(&mut self) -> ExitStatus {
        self.terminate_within(PATIENCE).await
    }

    /// SIGTERM, and the exit status; panics when the process is still there after `bound`.
    pub async fn terminate_within(&mut self, bound: Duration) -> ExitStatus {
        required(self.signal("TERM"));
        let what = format!("{} ends after SIGTERM", self.binary);
        let status = within(bound, &what, async || {
            let (child, _) = self.child.as_mut().context("no process to stop")?;
            child.try_wait()?.context("it is still running")
        })
        .await;
        self.child = None;
        status
    }

    /// Sends a signal by its name (`TERM`, `STOP`, `CONT`).
    pub fn signal(&self, name: &str) -> Result<()> {
        let pid = self.pid().with_context(|| format!("{} is not running", self.binary))?;
        // The shell's own kill: no unsafe code for one system call.
        let status =
            Command::new("sh").args(["-c", "kill -s \"$0\" \"$1\"", name, &pid.to_string()]).status()?;
        if !status.success() {
            bail!("cannot send {name} to {}", self.binary);
        }
        Ok(())
    }

    /// Starts it again with the same settings at the same address, after killing what still runs, and waits for it.
    pub async fn restart(&mut self) {
        self.restart_unready();
        self.ready().await;
    }

    /// As [`Process::restart`], but does not wait.
    pub fn restart_unready(&mut self) {
        self.kill9();
        required(self.start());
    }

    /// Everything that it wrote so far, restarts included.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Writes the end of its log to stderr, as dropping it in a failing test does.
    pub fn show_log(&self) {
        eprintln!("---- end of the log of {} ----\n{}", self.binary, self.log_tail());
    }

    /// Short, since a system has seven of them, and what the test itself says must not drown in them.
    fn log_tail(&self) -> String {
        tail(&self.log())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill9();
        if std::thread::panicking() {
            self.show_log();
        }
    }
}

fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    let (earlier, last) = lines.split_at(lines.len().saturating_sub(LOG_TAIL));
    let is_warning = |line: &&&str| line.contains(r#""level":"WARN""#) || line.contains(r#""level":"ERROR""#);
    let mut shown: Vec<&str> = earlier.iter().rev().filter(is_warning).take(LOG_TAIL).copied().collect();
    shown.reverse();
    let shown = shown.into_iter().chain(last.iter().copied());
    shown.map(|line| line.chars().take(LOG_LINE).collect()).collect::<Vec<String>>().join("\n")
}

fn address_setting(binary: &str) -> String {
    let name = binary.strip_suffix("-consumer").unwrap_or(binary);
    format!("{}_ADDR", name.replace('-', "_").to_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_test_shows_the_last_lines_of_a_log_and_the_last_warnings_before_them() {
        let line = |level: &str, n: usize| format!(r#"{{"level":"{level}","n":{n}}}"#);
        let log: Vec<String> =
            (0..100).map(|n| if n % 10 == 0 { line("WARN", n) } else { line("INFO", n) }).collect();
        let expected: Vec<&str> =
            [40, 50, 60, 70, 80, 90, 94, 95, 96, 97, 98, 99].map(|n: usize| log[n].as_str()).to_vec();
        assert_eq!(tail(&log.join("\n")), expected.join("\n"));
    }

    #[test]
    fn the_address_setting_is_the_services_name_in_capitals() {
        assert_eq!(address_setting("order-api"), "ORDER_API_ADDR");
        assert_eq!(address_setting("email-consumer"), "EMAIL_ADDR");
        assert_eq!(address_setting("provider-sim"), "PROVIDER_SIM_ADDR");
    }
}
