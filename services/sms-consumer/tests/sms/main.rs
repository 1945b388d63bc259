//! Confirmations by text message, against real servers and the stand-in for the provider.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod flow;
mod gateway;
mod handler;
mod orders;
mod provider;
