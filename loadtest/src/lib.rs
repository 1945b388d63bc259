#![doc = include_str!("../README.md")]

pub mod bench;
pub mod chaos;
pub mod compare;
mod config;
pub mod figures;
pub mod ladders;
pub mod load;
pub mod report;
pub mod scenario;
pub mod system;
mod usage;

pub use config::{Command, Config};
