//! Many events per key. An order has one event, so order per key would be true of orders whatever the relay and the consumers
//! do. Ladders are keys with many: each rung is an event, written to the outbox in a transaction like any other, published by the same
//! relays to a topic of their own, and read by a consumer on the same runtime with an inbox.

pub mod climb;
pub mod compare;
pub mod consumer;
mod setup;

pub use setup::prepare;

use serde::{Deserialize, Serialize};

/// The topic of the rungs.
pub const TOPIC: &str = "chaos.ladders";
/// The consumer group.
pub const GROUP: &str = "chaos";
/// What the events are called.
const RUNG_CLIMBED: &str = "RungClimbed";
/// Who says so.
const SOURCE: &str = "/orderflow/loadtest";

/// The data of an event: nothing, all that counts is in the envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rung {}
