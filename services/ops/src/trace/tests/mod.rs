//! The command beside a Jaeger, and with spans that nobody would send.

mod arbitrary;
mod asking;
