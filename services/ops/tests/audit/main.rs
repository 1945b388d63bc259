//! The audit on a copy of the data that a healthy system leaves behind, on real servers: faults are put in, and it has to find
//! exactly them; `ops republish` mends what Kafka lost.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod command;
mod copy;
mod faults;
mod kafka;
mod republish;
mod views;
