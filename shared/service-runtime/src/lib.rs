#![doc = include_str!("../README.md")]

pub mod health;
pub mod http;
pub mod problem;
pub mod process;
pub mod settings;
pub mod supervise;
pub mod telemetry;

pub use problem::Problem;
