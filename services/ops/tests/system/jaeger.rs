//! What Jaeger has of a trace, by its API for OTLP: spans with their parents and their links, as they were sent.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::system::System;

/// A span as the process has sent it.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    pub(crate) trace: String,
    pub(crate) id: String,
    /// Empty at the root.
    pub(crate) parent: String,
    /// Trace and span.
    pub(crate) links: Vec<(String, String)>,
    pub(crate) service: String,
    pub(crate) name: String,
    pub(crate) kind: &'static str,
    /// Numbers as text.
    pub(crate) attributes: BTreeMap<String, String>,
    pub(crate) failed: bool,
}

impl Span {
    pub(crate) fn attribute(&self, name: &str) -> &str {
        self.attributes.get(name).map_or("", String::as_str)
    }

    /// The consumer group, if it handled a record.
    pub(crate) fn group(&self) -> &str {
        if self.name.starts_with("process") { self.attribute("messaging.consumer.group.name") } else { "" }
    }

    pub(crate) fn outcome(&self) -> &str {
        self.attribute("orderflow.outcome")
    }
}

impl System {
    /// All spans of a trace that have come so far.
    pub(crate) async fn trace(&self, trace_id: &str) -> Vec<Span> {
        let url = format!("{}/api/v3/traces/{trace_id}", self.jaeger.url());
        let response = reqwest::get(url).await.expect("Jaeger answers");
        let body: Value = response.json().await.expect("JSON");
        let resources = list(&body["result"]["resourceSpans"]);
        resources.iter().flat_map(of_resource).collect()
    }

    /// Everything that Jaeger has of a service, as text.
    pub(crate) async fn all_traces_of(&self, service: &str) -> String {
        let url = format!("{}/api/traces?service={service}&limit=20000", self.jaeger.url());
        reqwest::get(url).await.expect("Jaeger answers").text().await.expect("a text")
    }
}

fn of_resource(resource: &Value) -> Vec<Span> {
    let service = attributes(&resource["resource"])["service.name"].clone();
    let scopes = list(&resource["scopeSpans"]).iter();
    scopes.flat_map(|scope| list(&scope["spans"])).map(|span| of_span(&service, span)).collect()
}

fn of_span(service: &str, span: &Value) -> Span {
    const KINDS: [&str; 6] = ["", "internal", "server", "client", "producer", "consumer"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let links = list(&span["links"]).iter();
    Span {
        trace: text(&span["traceId"]),
        id: text(&span["spanId"]),
        parent: text(&span["parentSpanId"]),
        links: links.map(|link| (text(&link["traceId"]), text(&link["spanId"]))).collect(),
        service: service.to_owned(),
        name: text(&span["name"]),
        kind: span["kind"].as_u64().map_or("", |kind| KINDS[kind as usize]),
        attributes: attributes(span),
        failed: span["status"]["code"] == 2,
    }
}

fn attributes(of: &Value) -> BTreeMap<String, String> {
    let value = |value: &Value| {
        let one = value.as_object().and_then(|value| value.values().next());
        one.map_or(String::new(), |one| one.as_str().map_or_else(|| one.to_string(), str::to_owned))
    };
    let all = list(&of["attributes"]).iter();
    all.map(|one| (one["key"].as_str().unwrap_or_default().to_owned(), value(&one["value"]))).collect()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}
