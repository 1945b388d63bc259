//! Everything that knows Kafka: producer, consumer runtime, dead letters, topics.
