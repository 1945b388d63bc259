//! Header names, and how headers are read.

use rdkafka::message::{Header, Headers, OwnedHeaders};

/// W3C Trace Context.
pub const TRACEPARENT: &str = "traceparent";

/// Headers that a dead letter carries beside those of the record it was.
pub mod dead_letter {
    /// Topic the record came from.
    pub const SOURCE_TOPIC: &str = "dead-letter-source-topic";
    /// Partition it came from.
    pub const SOURCE_PARTITION: &str = "dead-letter-source-partition";
    /// Its offset there.
    pub const SOURCE_OFFSET: &str = "dead-letter-source-offset";
    /// Its key there.
    pub const KEY: &str = "dead-letter-key";
    /// The consumer group that gave up.
    pub const HANDLER: &str = "dead-letter-handler";
    /// Why.
    pub const REASON: &str = "dead-letter-reason";
    /// How often it was tried.
    pub const ATTEMPTS: &str = "dead-letter-attempts";
}

/// The value of the last header of that name, if it is text.
pub fn text<'a>(headers: &'a OwnedHeaders, name: &str) -> Option<&'a str> {
    headers
        .iter()
        .filter(|header| header.key == name)
        .last()
        .and_then(|header| std::str::from_utf8(header.value?).ok())
}

/// Adds a text header.
pub(crate) fn with(headers: OwnedHeaders, name: &str, value: &str) -> OwnedHeaders {
    headers.insert(Header { key: name, value: Some(value) })
}
