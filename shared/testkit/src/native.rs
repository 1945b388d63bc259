//! Servers without containers: the repository's own `./dev` starts and stops them.
//!
//! How each server is installed, configured and started is known there and only there.

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
        let folder = leftovers::folder().join(format!("servers-{}", Uuid::new_v4().simple()));
        // Registered before the start: what a failed start leaves half done has to go too.
        let removal = format!("{} servers stop {}", quoted(&script()), quoted(&folder));
        let leftover = Some(Leftover::register(&removal)?);
        let servers = Self { folder, leftover };
        // The script's own watchdog: it also covers the death of our guard.
        let owner = std::process::id().to_string();
        let addresses = servers.run("start", kinds, &["--owner", &owner]).await?;
        for kind in kinds {
            if !addresses.contains_key(kind) {
                bail!("./dev servers start did not print {}", kind.variable());
            }
        }
        Ok((servers, addresses))
    }

    pub(crate) fn keep_until_exit(&mut self) {
        if let Some(leftover) = self.leftover.take() {
            leftover.keep();
        }
    }

    pub(crate) async fn stop(&self, kind: Kind) -> Result<()> {
        self.run("stop", &[kind], &[]).await.map(drop)
    }

    pub(crate) async fn kill(&self, kind: Kind) -> Result<()> {
        self.run("stop", &[kind], &["--signal", "KILL"]).await.map(drop)
    }

    pub(crate) async fn start_again(&self, kind: Kind) -> Result<()> {
        self.run("start", &[kind], &[]).await.map(drop)
    }

    async fn run(&self, verb: &str, kinds: &[Kind], options: &[&str]) -> Result<Addresses> {
        let kinds: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
        let log = self.folder.with_extension(format!("{verb}.{}", Uuid::new_v4().simple()));
        // Into files, not pipes: a server that inherits a pipe would keep us reading until it stops.
        let (out, err) = (log.with_extension("out"), log.with_extension("err"));
        let mut command = Command::new(script());
        command.args(["servers", verb]).arg(&self.folder).args(["--only", &kinds.join(",")]).args(options);
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
            bail!("./dev servers {verb} --only {}: {status}\n{said}", kinds.join(","));
        }
        Ok(addresses(&fs::read_to_string(&out)?))
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

fn addresses(output: &str) -> Addresses {
    let value = |kind: Kind| {
        let lines = output.lines().filter_map(|line| line.split_once('='));
        lines
            .filter(|(name, _)| *name == kind.variable())
            .map(|(_, value)| value.trim().to_owned())
            .next_back()
    };
    Kind::ALL.into_iter().filter_map(|kind| Some((kind, value(kind)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_from_the_lines_that_name_them() {
        let found =
            addresses("starting\nTEST_REDIS_URL=redis://127.0.0.1:7\nTEST_KAFKA_BROKERS=127.0.0.1:9\n");
        assert_eq!(found.len(), 2);
        assert_eq!(found[&Kind::Redis], "redis://127.0.0.1:7");
        assert_eq!(found[&Kind::Kafka], "127.0.0.1:9");
    }
}
