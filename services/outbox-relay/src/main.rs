//! Publishes the outbox to Kafka, in order per key.

fn main() {}
