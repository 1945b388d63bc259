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
    /// How often an operator has sent it back before it became this letter; absent: never.
    pub const REPLAYS: &str = "dead-letter-replays";
    /// `true`: the key is held, or was held for this record; absent: no.
    pub const HELD: &str = "dead-letter-held";
    /// On a record of a retry topic: the letter that it replays, as `partition/offset` in the dead-letter topic.
    pub const LETTER: &str = "dead-letter-letter";
    /// On a record of a retry topic: `true` if an operator allows that it is applied though no inbox may remember it.
    pub const BEYOND_HORIZON: &str = "dead-letter-beyond-horizon";

    /// What all of them begin with.
    pub(crate) const PREFIX: &str = "dead-letter-";
}

/// The value of the last header of that name, if it is text.
pub fn text<'a>(headers: &'a OwnedHeaders, name: &str) -> Option<&'a str> {
    headers
        .iter()
        .filter(|header| header.key == name)
        .last()
        .and_then(|header| std::str::from_utf8(header.value?).ok())
}

/// All headers, in their order. Values need not be text.
pub fn all(headers: &OwnedHeaders) -> impl Iterator<Item = (&str, Option<&[u8]>)> {
    headers.iter().map(|header| (header.key, header.value))
}

/// The headers without those that tell a dead letter's story.
pub(crate) fn without_story(headers: Option<&OwnedHeaders>) -> OwnedHeaders {
    let Some(headers) = headers else { return OwnedHeaders::new() };
    headers
        .iter()
        .filter(|header| !header.key.starts_with(dead_letter::PREFIX))
        .fold(OwnedHeaders::new_with_capacity(headers.count()), OwnedHeaders::insert)
}

/// Adds a text header.
pub(crate) fn with(headers: OwnedHeaders, name: &str, value: &str) -> OwnedHeaders {
    headers.insert(Header { key: name, value: Some(value) })
}
