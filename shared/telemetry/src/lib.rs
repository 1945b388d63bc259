#![doc = include_str!("../README.md")]

mod context;
mod export;
mod filter;
mod json_lines;
pub mod metrics;
mod sampler;
mod settings;
pub mod span;
mod start;

pub use context::{
    annotate, continue_message, continue_trace, current_trace_id, current_traceparent, is_sampled, link,
};
pub use start::{Telemetry, init, log_panic};
