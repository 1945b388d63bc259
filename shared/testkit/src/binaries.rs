//! The services' binaries, from the build that this test belongs to.

use std::collections::HashSet;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{LazyLock, Mutex, PoisonError};

use anyhow::{Context, Result, bail};

/// Set by `./dev test`, which has just built everything: nothing to do then.
const BUILT: &str = "ORDERFLOW_BINS_BUILT";

static FRESH: LazyLock<Mutex<HashSet<String>>> = LazyLock::new(Mutex::default);

/// Builds the named services in one go, unless this process or `./dev test` did so already.
///
/// [`crate::Process`] does this for its own binary. A test that needs several calls it first: one build resolves
/// features once, many builds may compile the same dependencies again and again.
pub fn build(binaries: &[&str]) {
    // Held during the build: a second caller needs the result, not a second cargo.
    let mut fresh = FRESH.lock().unwrap_or_else(PoisonError::into_inner);
    let declared_fresh = std::env::var(BUILT).is_ok_and(|value| value == "1");
    let missing: Vec<&str> = binaries
        .iter()
        .copied()
        .filter(|binary| !fresh.contains(*binary))
        .filter(|binary| !declared_fresh || !crate::required(path(binary)).exists())
        .collect();
    if !missing.is_empty() {
        crate::required(cargo_build(&missing));
    }
    fresh.extend(binaries.iter().map(|binary| (*binary).to_owned()));
}

/// Where cargo puts the binary that belongs to this test's profile.
pub(crate) fn path(binary: &str) -> Result<PathBuf> {
    Ok(profile_folder()?.join(binary))
}

/// `target/<profile>`: tests run from `target/<profile>/deps`.
fn profile_folder() -> Result<PathBuf> {
    let this = std::env::current_exe()?;
    let folder = this.parent().and_then(|deps| deps.parent());
    folder.map(PathBuf::from).with_context(|| format!("{} is not in a target folder", this.display()))
}

fn cargo_build(binaries: &[&str]) -> Result<()> {
    let folder = profile_folder()?;
    let profile = match folder.file_name().and_then(|name| name.to_str()) {
        Some("debug") => "dev",
        Some(profile) => profile,
        None => bail!("no profile in {}", folder.display()),
    };
    let target = folder.parent().with_context(|| format!("no target folder above {}", folder.display()))?;
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let mut command = Command::new(cargo);
    // The whole workspace: features are resolved for what is selected, and each selection would compile its own dependencies.
    command
        .args(["build", "--quiet", "--workspace", "--bins", "--profile", profile, "--target-dir"])
        .arg(target);
    let output = command.current_dir(crate::workspace_root()).output().context("cannot run cargo")?;
    if !output.status.success() {
        bail!("cargo build of {}:\n{}", binaries.join(", "), String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}
