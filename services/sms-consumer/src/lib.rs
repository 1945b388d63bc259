//! Confirms orders by text message over HTTP.
