//! Consumers in their processes, on real servers.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod beside;
mod letters;
mod pausing;
mod retention;
mod stage;
