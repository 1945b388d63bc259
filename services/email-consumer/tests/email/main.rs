//! Confirmations by e-mail, against real servers and the stand-in for the provider.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod flow;
mod handler;
mod mailer;
mod orders;
mod provider;
mod scripted;
