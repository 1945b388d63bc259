//! Servers without containers: the repository's own `./dev` starts and stops them.
//!
//! How each server is installed, configured and started is known there and only there.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use tokio::process::Command;
use uuid::Uuid;

use crate::leftovers::{self, Leftover};
use crate::servers::{Addresses, Kind};

/// Servers under one folder, stopped and removed when dropped.
pub(crate) struct NativeServers {
    folder: PathBuf,
    leftover: Option<Leftover>,
}

impl NativeServers {
    pub(crate) async fn start(kinds: &[Kind]) -> Result<(Self, Addresses)> {
        let (servers, printed) = Self::start_named(&names(kinds)).await?;
        let mut addresses = Addresses::new();
        for kind in kinds {
            let address = printed.get(kind.variable());
            let missing = || format!("./dev servers start did not print {}", kind.variable());
            addresses.insert(*kind, address.with_context(missing)?.clone());
        }
        Ok((servers, addresses))
    }

    /// As [`Self::start`], for all that `./dev servers` knows; also what it printed of them.
    pub(crate) async fn start_named(names: &[&str]) -> Result<(Self, Printed)> {
        let folder = leftovers::folder().join(format!("servers-{}", Uuid::new_v4().simple()));
        // Registered before the start: what a failed start leaves half done has to go too.
        let removal = format!("{} servers stop {}", quoted(&script()), quoted(&folder));
        let leftover = Some(Leftover::register(&removal)?);
        let servers = Self { folder, leftover };
        // The script's own watchdog: it also covers the death of our guard.
        let owner = std::process::id().to_string();
        let printed = servers.run("start", names, &["--owner", &owner]).await?;
        Ok((servers, printed))
    }

    /// Where they keep what they write.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn keep_until_exit(&mut self) {
        if let Some(leftover) = self.leftover.take() {
            leftover.keep();
        }
    }

    pub(crate) async fn stop(&self, kind: Kind) -> Result<()> {
        self.run("stop", &names(&[kind]), &[]).await.map(drop)
    }

    pub(crate) async fn kill(&self, kind: Kind) -> Result<()> {
        self.run("stop", &names(&[kind]), &["--signal", "KILL"]).await.map(drop)
    }

    pub(crate) async fn start_again(&self, kind: Kind) -> Result<()> {
        self.run("start", &names(&[kind]), &[]).await.map(drop)
    }

    async fn run(&self, verb: &str, names: &[&str], options: &[&str]) -> Result<Printed> {
        let log = self.folder.with_extension(format!("{verb}.{}", Uuid::new_v4().simple()));
        // Into files, not pipes: a server that inherits a pipe would keep us reading until it stops.
        let (out, err) = (log.with_extension("out"), log.with_extension("err"));
        let mut command = Command::new(script());
        command.args(["servers", verb]).arg(&self.folder).args(["--only", &names.join(",")]).args(options);
        let status = command
            .current_dir(crate::workspace_root())
            .stdin(Stdio::null())
            .stdout(fs::File::create(&out)?)
            .stderr(fs::File::create(&err)?)
            .status()
            .await
            .context("cannot run ./dev")?;
        if !status.success() {
            let said = fs::read_to_string(&err).unwrap_or_default();
            bail!("./dev servers {verb} --only {}: {status}\n{said}", names.join(","));
        }
        Ok(printed(&fs::read_to_string(&out)?))
    }
}

impl Drop for NativeServers {
    fn drop(&mut self) {
        if self.leftover.is_some() {
            let stop = std::process::Command::new(script())
                .args(["servers", "stop"])
                .arg(&self.folder)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status();
            // Only a stop that worked makes the guard's superfluous.
            if !stop.is_ok_and(|status| status.success()) {
                self.keep_until_exit();
            }
        }
    }
}

fn script() -> PathBuf {
    crate::workspace_root().join("dev")
}

fn quoted(path: &Path) -> String {
    leftovers::quoted(&path.to_string_lossy())
}

fn names(kinds: &[Kind]) -> Vec<&'static str> {
    kinds.iter().map(|kind| kind.name()).collect()
}

/// The lines that name something: `NAME=value`.
pub(crate) type Printed = BTreeMap<String, String>;

fn printed(output: &str) -> Printed {
    let lines = output.lines().filter_map(|line| line.split_once('='));
    lines.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_from_the_lines_that_name_them() {
        let found = printed("starting\nTEST_REDIS_URL=redis://127.0.0.1:7\nTEST_KAFKA_BROKERS=127.0.0.1:9\n");
        assert_eq!(found.len(), 2);
        assert_eq!(found[Kind::Redis.variable()], "redis://127.0.0.1:7");
        assert_eq!(found[Kind::Kafka.variable()], "127.0.0.1:9");
    }
}
