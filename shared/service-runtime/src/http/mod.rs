//! Serving HTTP: the shell around every router, and the loop under it.

mod body;
mod json;
mod serve;
mod shell;

use std::time::Duration;

pub use self::json::Json;
pub use self::serve::{ServeLimits, serve, serve_with};
pub use self::shell::harden;

/// What one request may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Longest request body. More is refused with 413; a bigger value lets one caller hold more memory.
    pub body_bytes: usize,
    /// How long the caller may take to send its body. Then it is answered 408. A bigger value serves slower lines, and lets an
    /// idle sender hold a connection for longer.
    pub body_time: Duration,
    /// How long the whole request may take. Then it is answered 504, and the handler is dropped. It should exceed the time-outs of
    /// what the handlers call, so that those can answer better than this one.
    pub request_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 64 * 1024,
            body_time: Duration::from_secs(5),
            request_time: Duration::from_secs(15),
        }
    }
}
