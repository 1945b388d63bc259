//! What the processes of orderflow say to each other: events, topics and money.
//!
//! Pure data: no I/O, no clock, no Kafka, no SQL. Golden files in `tests/golden` pin the JSON, so that a change of
//! a field name is a failing test and not a broken consumer.

mod envelope;
mod money;
mod order_created;
pub mod topics;

pub use envelope::{DecodeError, Envelope, SCHEMA_VERSION, event_id};
pub use money::{Money, MoneyError};
pub use order_created::{ORDER_CREATED, OrderCreated, OrderLine, decode_order_created};
