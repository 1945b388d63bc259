//! What holds of every plan, and what a client does whose outcome is unknown.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod ladders;
mod plan;
mod sender;
