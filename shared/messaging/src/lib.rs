#![doc = include_str!("../README.md")]

mod aside;
pub mod consumer;
pub mod dead_letters;
pub mod groups;
pub mod headers;
pub mod lag;
mod metrics;
pub mod offsets;
mod outlet;
mod partitioner;
mod producer;
pub mod reader;
mod settings;
mod topics;

pub use metrics::ConsumerMetrics;
pub use outlet::{BorrowedRecord, Outlet};
pub use partitioner::partition_of;
pub use producer::{OutgoingRecord, Producer, PublishError};
pub use settings::{GuardSettings, KafkaSettings, RetrySettings};
pub use topics::{TopicRetention, TopicSpec, TopicsError, ensure_topics, topic_retention};
