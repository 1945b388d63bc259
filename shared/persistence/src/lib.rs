#![doc = include_str!("../README.md")]

pub mod deliveries;
pub mod errors;
pub mod grouped;
pub mod held;
pub mod inbox;
pub mod intake;
pub mod metrics;
pub mod outbox;
pub mod pool;
pub mod sql;
