#![doc = include_str!("../README.md")]

pub mod health;
pub mod http;
mod metrics;
pub mod problem;
pub mod process;
pub mod scrape;
pub mod settings;
pub mod supervise;

pub use problem::Problem;
