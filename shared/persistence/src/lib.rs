//! The outbox and the inbox in Postgres, and the pools that reach it.
