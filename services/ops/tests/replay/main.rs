//! `ops replay` as an operator calls it, on topics of real Kafka that each test fills by hand.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fixture;
mod list;
mod run;
mod stops;
