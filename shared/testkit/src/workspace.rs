//! Where the repository is, seen from a test.

use std::path::PathBuf;

/// The folder of the workspace's `Cargo.toml`.
pub fn root() -> PathBuf {
    let root = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    // Only for the looks of messages that name files in it.
    root.canonicalize().unwrap_or(root)
}
