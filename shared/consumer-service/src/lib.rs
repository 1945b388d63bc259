#![doc = include_str!("../README.md")]

mod held;
mod housekeeping;
mod intake;
mod metrics;
mod retention;
mod service;
mod settings;

pub use metrics::ProviderCalls;
pub use retention::TooShort;
pub use service::{ConsumerService, Group};
pub use settings::{AfterDeadLetter, ConsumerArgs, Retention};
