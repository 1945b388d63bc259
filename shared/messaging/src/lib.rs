#![doc = include_str!("../README.md")]

pub mod consumer;
pub mod headers;
mod partitioner;
mod producer;
pub mod reader;
mod settings;
mod topics;

pub use partitioner::partition_of;
pub use producer::{OutgoingRecord, Producer, PublishError};
pub use settings::{GuardSettings, KafkaSettings, RetrySettings};
pub use topics::{TopicSpec, TopicsError, ensure_topics};
