//! The spans for programs.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::span::{Failure, Kind, Span};
use super::story::Story;

/// A span. The names of the fields are those of the JSON and stay; fields may be added.
#[derive(Serialize)]
struct Entry<'a> {
    id: &'a str,
    /// Another one than that of the order: a batch.
    trace: &'a str,
    parent: Option<&'a str>,
    links: Vec<Link<'a>>,
    service: &'a str,
    name: &'a str,
    kind: Kind,
    /// Microseconds from the request.
    offset_us: i64,
    duration_us: i64,
    attributes: &'a BTreeMap<String, Value>,
    error: Option<&'a Failure>,
}

#[derive(Serialize)]
struct Link<'a> {
    trace: &'a str,
    id: &'a str,
}

/// A list of all spans by the time when they began, over several lines.
pub(super) fn json(story: &Story) -> serde_json::Result<String> {
    let order = super::story::by_start(&story.spans);
    let entries: Vec<Entry<'_>> =
        order.iter().filter_map(|&index| Some(entry(story.spans.get(index)?, story.began_us()))).collect();
    serde_json::to_string_pretty(&entries)
}

fn entry(span: &Span, began_us: i64) -> Entry<'_> {
    Entry {
        id: &span.key.span,
        trace: &span.key.trace,
        parent: span.parent.as_ref().map(|parent| parent.span.as_str()),
        links: span.links.iter().map(|link| Link { trace: &link.trace, id: &link.span }).collect(),
        service: &span.service,
        name: &span.name,
        kind: span.kind,
        offset_us: span.start_us.saturating_sub(began_us),
        duration_us: span.duration_us,
        attributes: &span.attributes,
        error: span.failure.as_ref(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn every_span_is_an_entry_with_all_that_is_known_about_it() {
        let story = sample::story();
        let spans: Vec<Value> = serde_json::from_str(&json(&story).unwrap()).unwrap();
        assert_eq!(spans.len(), story.spans.len());
        assert_eq!((&spans[0]["name"], &spans[0]["offset_us"]), (&"POST /api/order".into(), &0.into()));
        assert_eq!((&spans[0]["parent"], &spans[0]["kind"]), (&Value::Null, &"server".into()));
        let failed = spans.iter().find(|span| span["error"]["type"] == "no_answer").unwrap();
        assert_eq!(failed["attributes"]["orderflow.outcome"], "retry");
        assert_eq!(failed["error"]["description"], "the gateway did not answer within 100 ms");
        let batch = spans.iter().find(|span| span["name"] == "process batch").unwrap();
        assert_ne!(batch["trace"], spans[0]["trace"]);
        assert!(spans.iter().any(|span| span["links"][0]["id"] == batch["id"]));
    }
}
