//! What Jaeger's HTTP API answers, made into spans.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::span::{Failure, Key, Kind, Span};

/// Jaeger finds a clock wrong wherever a span begins before the one that caused it has ended, as the handling of a message does.
const SKEW: &str = "clock skew adjustment disabled";
/// Digits of the id of a trace and of a span. Old versions of Jaeger leave leading zeros out.
const TRACE_DIGITS: usize = 32;
const SPAN_DIGITS: usize = 16;

/// Reads an answer to `GET /api/traces/{id}`. No span: Jaeger does not know the trace.
pub(super) fn parse(json: &[u8]) -> serde_json::Result<Vec<Span>> {
    let answer: Answer = serde_json::from_slice(json)?;
    let mut spans: Vec<Span> = answer.data.into_iter().flat_map(WireTrace::spans).collect();
    // An export that was repeated after its answer was lost left the span twice.
    let mut seen = HashSet::new();
    spans.retain(|s| {
        seen.insert((s.key.clone(), s.service.clone(), s.name.clone(), s.start_us, s.duration_us))
    });
    Ok(spans)
}

#[derive(Deserialize)]
struct Answer {
    #[serde(deserialize_with = "or_null")]
    data: Vec<WireTrace>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireTrace {
    #[serde(default, deserialize_with = "or_null")]
    spans: Vec<WireSpan>,
    #[serde(default, deserialize_with = "or_null")]
    processes: HashMap<String, Process>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Process {
    service_name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireSpan {
    #[serde(rename = "traceID")]
    trace_id: String,
    #[serde(rename = "spanID")]
    span_id: String,
    operation_name: String,
    #[serde(default, deserialize_with = "or_null")]
    references: Vec<Reference>,
    start_time: i64,
    duration: i64,
    #[serde(default, deserialize_with = "or_null")]
    tags: Vec<Tag>,
    #[serde(default, deserialize_with = "or_null")]
    logs: Vec<Log>,
    #[serde(rename = "processID", default)]
    process_id: String,
    #[serde(default, deserialize_with = "or_null")]
    warnings: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reference {
    ref_type: String,
    #[serde(rename = "traceID")]
    trace_id: String,
    #[serde(rename = "spanID")]
    span_id: String,
}

#[derive(Deserialize)]
struct Tag {
    key: String,
    #[serde(default)]
    value: Value,
}

#[derive(Deserialize)]
struct Log {
    #[serde(default, deserialize_with = "or_null")]
    fields: Vec<Tag>,
}

impl WireTrace {
    fn spans(self) -> impl Iterator<Item = Span> {
        let Self { spans, processes } = self;
        spans.into_iter().map(move |span| {
            let service = processes.get(&span.process_id).map_or("unknown", |process| &process.service_name);
            span.into_span(service.to_owned())
        })
    }
}

impl WireSpan {
    fn into_span(self, service: String) -> Span {
        let attributes: BTreeMap<_, _> = self.tags.into_iter().map(|tag| (tag.key, tag.value)).collect();
        let of_type = |wanted: &'static str| {
            self.references.iter().filter(move |r| r.ref_type == wanted).map(|r| key(&r.trace_id, &r.span_id))
        };
        let mut links: Vec<Key> = of_type("FOLLOWS_FROM").collect();
        // Of a parent that is also linked to, Jaeger keeps only the link.
        let in_trace = |link: &&Key| link.trace == key(&self.trace_id, "").trace;
        let parent = of_type("CHILD_OF").next().or_else(|| links.iter().find(in_trace).cloned());
        links.retain(|link| Some(link) != parent.as_ref());
        Span {
            key: key(&self.trace_id, &self.span_id),
            parent,
            links,
            service,
            name: self.operation_name,
            kind: kind(attributes.get("span.kind")),
            start_us: self.start_time.max(0),
            duration_us: self.duration.max(0),
            failure: failure(&attributes, &self.logs),
            attributes,
            warnings: self.warnings.into_iter().filter(|warning| !warning.starts_with(SKEW)).collect(),
        }
    }
}

fn key(trace: &str, span: &str) -> Key {
    let padded = |id: &str, digits| format!("{:0>digits$}", id.to_ascii_lowercase());
    Key { trace: padded(trace, TRACE_DIGITS), span: padded(span, SPAN_DIGITS) }
}

fn kind(tag: Option<&Value>) -> Kind {
    match tag.and_then(Value::as_str) {
        Some("server") => Kind::Server,
        Some("client") => Kind::Client,
        Some("producer") => Kind::Producer,
        Some("consumer") => Kind::Consumer,
        _ => Kind::Internal,
    }
}

/// A status of error is the tag `error`; what went wrong is in tags, or in the event of an exception.
fn failure(attributes: &BTreeMap<String, Value>, logs: &[Log]) -> Option<Failure> {
    let failed = attributes.get("error").is_some_and(|error| error == true || error == "true")
        || attributes.get("otel.status_code").is_some_and(|code| code == "ERROR");
    let text = |value: &Value| {
        value
            .as_str()
            .map_or_else(|| (!value.is_null()).then(|| value.to_string()), |text| Some(text.to_owned()))
    };
    let tag = |name: &str| attributes.get(name).and_then(text).filter(|text| !text.is_empty());
    let logged = |name: &str| {
        let mut fields = logs.iter().flat_map(|log| &log.fields);
        fields.find(|field| field.key == name).and_then(|field| text(&field.value))
    };
    failed.then(|| Failure {
        kind: tag("error.type").or_else(|| logged("exception.type")),
        description: tag("otel.status_description").or_else(|| logged("exception.message")),
    })
}

/// Jaeger writes an empty list as `null`.
fn or_null<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(from: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The least that Jaeger says about a span.
    fn parsed(span: &str) -> Span {
        let json = format!(
            r#"{{"data":[{{"spans":[{{"traceID":"AB","spanID":"7","operationName":"o","startTime":5,"duration":2,"processID":"p1"{span}}}],
                "processes":{{"p1":{{"serviceName":"s"}}}}}}]}}"#
        );
        parse(json.as_bytes()).unwrap().remove(0)
    }

    #[test]
    fn lists_may_be_null_or_left_out_and_ids_have_leading_zeros_again() {
        for more in ["", r#","references":null,"tags":null,"logs":null,"warnings":null"#] {
            let span = parsed(more);
            assert_eq!(span.key, key("000000000000000000000000000000ab", "0000000000000007"));
            assert_eq!(
                (span.service.as_str(), span.kind, span.parent.is_none()),
                ("s", Kind::Internal, true)
            );
        }
    }

    #[test]
    fn a_link_to_the_parent_says_nothing_new() {
        let span = parsed(
            r#","references":[{"refType":"FOLLOWS_FROM","traceID":"ab","spanID":"1"},{"refType":"CHILD_OF","traceID":"ab","spanID":"1"},
                {"refType":"FOLLOWS_FROM","traceID":"cd","spanID":"2"}]"#,
        );
        assert_eq!((span.parent, span.links), (Some(key("ab", "1")), vec![key("cd", "2")]));
    }

    #[test]
    fn of_a_parent_that_is_also_linked_to_jaeger_keeps_only_the_link() {
        let span = parsed(
            r#","references":[{"refType":"FOLLOWS_FROM","traceID":"cd","spanID":"2"},{"refType":"FOLLOWS_FROM","traceID":"ab","spanID":"1"}]"#,
        );
        assert_eq!((span.parent, span.links), (Some(key("ab", "1")), vec![key("cd", "2")]));
    }

    #[test]
    fn what_went_wrong_is_in_the_tags_or_in_the_event() {
        let failed =
            r#","tags":[{"key":"error","type":"bool","value":true},{"key":"error.type","value":503}]"#;
        let failure = parsed(failed).failure.unwrap();
        assert_eq!((failure.kind.as_deref(), failure.description), (Some("503"), None));
        let event = format!(
            r#"{failed},"logs":[{{"timestamp":6,"fields":[{{"key":"event","value":"exception"}},{{"key":"exception.message","value":"gone"}}]}}]"#
        );
        assert_eq!(parsed(&event).failure.unwrap().description.as_deref(), Some("gone"));
        assert_eq!(parsed(r#","tags":[{"key":"error.type","value":"x"}]"#).failure, None);
    }

    #[test]
    fn a_span_that_was_exported_twice_is_one_span_and_no_trace_is_none() {
        let span = r#"{"traceID":"ab","spanID":"7","operationName":"o","startTime":5,"duration":2,"processID":"p1"}"#;
        let json = format!(r#"{{"data":[{{"spans":[{span},{span}],"processes":{{}}}}]}}"#);
        let spans = parse(json.as_bytes()).unwrap();
        assert_eq!((spans.len(), spans[0].service.as_str()), (1, "unknown"));
        assert!(
            parse(br#"{"data":null}"#).unwrap().is_empty() && parse(br#"{"data":[]}"#).unwrap().is_empty()
        );
        assert!(parse(b"{}").is_err() && parse(b"<html>").is_err());
    }
}
