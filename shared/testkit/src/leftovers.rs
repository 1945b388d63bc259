//! What must not outlive the test process: containers, servers, child processes, temporary files.
//!
//! Statics are never dropped, and a test process may be killed, so dropping alone cleans nothing up for certain. One
//! shell per test process waits at the other end of a pipe; when this process is gone, however it went, the pipe
//! closes and the shell runs one small script per thing that is still registered. It then removes the folder, unless a
//! script failed: what that one was to stop may still be using it.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::LazyLock;

use anyhow::{Context, Result};
use uuid::Uuid;

/// A Ctrl-C reaches the whole foreground group; the guard has a group of its own and finishes its work.
const GUARD: &str = r#"
cat >/dev/null
for task in "$0"/leftovers/*; do [ -f "$task" ] && sh "$task" && rm "$task"; done
rmdir "$0/leftovers" && rm -rf "$0"
"#;

struct Home {
    folder: PathBuf,
    /// Never written to: that it is open tells the guard that we live.
    _alive: Option<ChildStdin>,
}

static HOME: LazyLock<Home> = LazyLock::new(|| crate::required(open()));

fn open() -> Result<Home> {
    let folder = std::env::temp_dir().join(format!("orderflow-test-{}", Uuid::new_v4().simple()));
    // Readable for others: as root, Postgres runs under another user and has to reach its data below this folder.
    fs::create_dir_all(folder.join("leftovers"))
        .with_context(|| format!("cannot create {}", folder.display()))?;
    let mut guard = Command::new("sh")
        .args(["-c", GUARD])
        .arg(&folder)
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .context("cannot start a shell to clean up after the tests")?;
    Ok(Home { folder, _alive: guard.stdin.take() })
}

/// The folder of this test process; removed with everything in it when the process is gone.
pub fn folder() -> &'static Path {
    &HOME.folder
}

/// A registered clean-up. Dropping it means that the work was done by other means.
#[must_use]
#[derive(Debug)]
pub(crate) struct Leftover {
    task: PathBuf,
}

impl Leftover {
    /// Runs `script` with `sh` once this process is gone, unless the result is dropped before.
    pub(crate) fn register(script: &str) -> Result<Self> {
        let task = folder().join("leftovers").join(Uuid::new_v4().simple().to_string());
        fs::write(&task, script).with_context(|| format!("cannot write {}", task.display()))?;
        Ok(Self { task })
    }

    /// Keeps the clean-up for the end of the process: for what a static holds.
    pub(crate) fn keep(self) {
        std::mem::forget(self);
    }
}

impl Drop for Leftover {
    fn drop(&mut self) {
        // A script that stays behind only does its work twice.
        let _ = fs::remove_file(&self.task);
    }
}

/// Quotes a value for `sh`.
pub(crate) fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARK: &str = "TESTKIT_LEFTOVER_MARK";

    /// The other half of the next test: registers, then dies without running a single destructor.
    #[test]
    fn dies_with_a_leftover_when_told_so() {
        if let Ok(mark) = std::env::var(MARK) {
            let kept = Leftover::register(&format!("touch {}", quoted(&mark))).expect("a kept leftover");
            drop(
                Leftover::register(&format!("touch {}", quoted(&format!("{mark}.dropped"))))
                    .expect("another"),
            );
            fs::write(format!("{mark}.folder"), folder().to_string_lossy().as_bytes()).expect("its folder");
            kept.keep();
            std::process::abort();
        }
    }

    #[tokio::test]
    async fn what_is_registered_is_done_after_the_process_died_and_what_was_dropped_is_not() {
        let scratch = tempfile::tempdir().expect("a folder");
        let mark = scratch.path().join("it's done");
        let died = Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", "leftovers::tests::dies_with_a_leftover_when_told_so"])
            .env(MARK, &mark)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .expect("this test again");
        assert!(!died.success());

        let folder =
            fs::read_to_string(mark.with_extension("folder")).expect("the folder of the dead process");
        crate::eventually("the guard removed the folder", async || {
            if Path::new(&folder).exists() { Err("still there") } else { Ok(()) }
        })
        .await;
        assert!(mark.exists(), "the registered script did not run");
        assert!(!mark.with_extension("dropped").exists(), "a dropped script ran");
    }
}
