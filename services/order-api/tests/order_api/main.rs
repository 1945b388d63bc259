//! The order API on a real Postgres and a real Redis.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bad_input;
mod changes;
mod groups;
mod idempotency;
mod idempotency_crashes;
mod idempotency_expiry;
mod orders;
mod outages;
mod process;
mod products;
mod proxy;
mod shop;
