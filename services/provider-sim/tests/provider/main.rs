//! The stand-in as its senders and its readers meet it: over real sockets.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod http;
mod listing;
mod mail;
mod sim;
mod survival;
mod text;
