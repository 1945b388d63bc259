#![doc = include_str!("../README.md")]

pub mod errors;
pub mod inbox;
pub mod outbox;
pub mod pool;
