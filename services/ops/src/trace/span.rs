//! A span as this command needs it, wherever it came from.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

/// Attributes that say what a span was for.
pub(super) mod attribute {
    pub(crate) const ORDER: &str = "order.id";
    pub(crate) const OUTCOME: &str = "orderflow.outcome";
    pub(crate) const GROUP: &str = "messaging.consumer.group.name";
    pub(crate) const BATCH_SIZE: &str = "messaging.batch.message_count";
    /// Which try this is, the first is 1.
    pub(crate) const ATTEMPT: &str = "orderflow.attempt";
}

/// Outcomes of a process span that mean something to this command; the others are only shown.
pub(super) mod outcome {
    pub(crate) const APPLIED: &str = "applied";
    pub(crate) const REPEAT: &str = "repeat";
    pub(crate) const RETRY: &str = "retry";
}

/// One piece of work in one process.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Span {
    pub(super) key: Key,
    pub(super) parent: Option<Key>,
    /// What it follows from beside its parent.
    pub(super) links: Vec<Key>,
    pub(super) service: String,
    pub(super) name: String,
    pub(super) kind: Kind,
    /// Microseconds since 1970, by the clock of the process.
    pub(super) start_us: i64,
    pub(super) duration_us: i64,
    pub(super) attributes: BTreeMap<String, Value>,
    pub(super) failure: Option<Failure>,
    /// What Jaeger has to say about it, for example that it corrected a clock.
    pub(super) warnings: Vec<String>,
}

/// The name of a span: its trace and its id in there, in lower-case hex.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) trace: String,
    pub(super) span: String,
}

/// Which side of a call a span is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    Server,
    Client,
    Producer,
    Consumer,
    Internal,
}

/// Why a span ended in an error; as much as is known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Failure {
    #[serde(rename = "type")]
    pub(super) kind: Option<String>,
    pub(super) description: Option<String>,
}

impl Span {
    pub(super) fn end_us(&self) -> i64 {
        self.start_us.saturating_add(self.duration_us)
    }

    /// An attribute as text.
    pub(super) fn text(&self, attribute: &str) -> Option<Cow<'_, str>> {
        match self.attributes.get(attribute)? {
            Value::String(text) => Some(Cow::Borrowed(text)),
            Value::Null => None,
            other => Some(Cow::Owned(other.to_string())),
        }
    }

    /// An attribute that counts something.
    pub(super) fn number(&self, attribute: &str) -> Option<u64> {
        self.text(attribute)?.parse().ok()
    }

    pub(super) fn outcome(&self) -> Option<Cow<'_, str>> {
        self.text(attribute::OUTCOME)
    }

    /// Whether an order was placed here.
    pub(super) fn is_request(&self) -> bool {
        self.kind == Kind::Server && self.name == "POST /api/order"
    }

    /// The consumer group that handled a record here.
    pub(super) fn group(&self) -> Option<Cow<'_, str>> {
        (self.kind == Kind::Consumer).then(|| self.text(attribute::GROUP)).flatten()
    }
}

#[cfg(test)]
impl Span {
    /// A span of trace `t` that does nothing remarkable.
    pub(super) fn plain(id: &str, parent: Option<&str>, start_us: i64, duration_us: i64) -> Self {
        let key = |span: &str| Key { trace: "t".to_owned(), span: span.to_owned() };
        Self {
            key: key(id),
            parent: parent.map(key),
            links: Vec::new(),
            service: "order-api".to_owned(),
            name: id.to_owned(),
            kind: Kind::Internal,
            start_us,
            duration_us,
            attributes: BTreeMap::new(),
            failure: None,
            warnings: Vec::new(),
        }
    }
}
