//! Which trace we are in, and which one something came from.
//!
//! The text form is `traceparent` of W3C Trace Context. `tracestate` is neither stored nor sent on.

use std::sync::OnceLock;

use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceId};
use opentelemetry::{Context, KeyValue, Value};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::{Span, warn};
use tracing_opentelemetry::{OpenTelemetrySpanExt, SetParentError};

use crate::settings::Consumers;

/// How spans of received messages stand to the span that sent them; set once, by [`init`](crate::init).
pub(crate) static CONSUMERS: OnceLock<Consumers> = OnceLock::new();

/// Makes `span` part of the trace that `traceparent` names. Must be called before the span is entered for the first time.
/// Without a valid `traceparent` the span starts a trace of its own.
pub fn continue_trace(span: &Span, traceparent: Option<&str>) {
    if let Some(remote) = traceparent.and_then(remote) {
        adopt(span, remote);
    }
}

/// Tells `span`, which handles a message, where the message comes from: it is a child of the span that sent the message and linked to it,
/// or only linked, as the setting `TRACE_CONSUMERS` says. Must be called before the span is entered for the first time. The attributes are added if
/// the message's trace is sampled.
pub fn continue_message(span: &Span, traceparent: Option<&str>, attributes: impl FnOnce() -> Vec<KeyValue>) {
    let Some(sender) = traceparent.and_then(remote) else { return };
    if sender.is_sampled() {
        for KeyValue { key, value, .. } in attributes() {
            span.set_attribute(key, value);
        }
    }
    follow(span, sender, consumers());
}

fn follow(span: &Span, sender: SpanContext, consumers: Consumers) {
    if consumers == Consumers::Child {
        adopt(span, sender.clone());
        if !sender.is_sampled() {
            // Nothing is recorded. Where the span is no child the link says that.
            return;
        }
    }
    span.add_link(sender);
}

/// Links `span` to the span that `traceparent` names; returns whether it names one.
pub fn link(span: &Span, traceparent: Option<&str>) -> bool {
    let named = traceparent.and_then(remote);
    named.map(|remote| span.add_link(remote)).is_some()
}

fn adopt(span: &Span, remote: SpanContext) {
    if let Err(SetParentError::AlreadyStarted) =
        span.set_parent(Context::new().with_remote_span_context(remote))
    {
        warn!("trace split: the span was entered before its parent was set");
    }
}

pub(crate) fn consumers() -> Consumers {
    CONSUMERS.get().copied().unwrap_or_default()
}

/// Adds an attribute to the `tracing` span we are in, if it is recorded.
pub fn annotate(name: &'static str, value: impl Into<Value>) {
    if is_sampled() {
        Span::current().set_attribute(name, value);
    }
}

/// Whether what happens here and now is recorded.
pub fn is_sampled() -> bool {
    with_current(SpanContext::is_sampled)
}

/// The W3C `traceparent` of where we are, to be stored or sent on.
pub fn current_traceparent() -> Option<String> {
    with_current(|here| here.is_valid().then(|| traceparent(here)))
}

/// The trace we are in: 32 hex digits.
pub fn current_trace_id() -> Option<String> {
    current_ids().map(|(trace, _)| trace.to_string())
}

pub(crate) fn current_ids() -> Option<(TraceId, SpanId)> {
    with_current(|here| here.is_valid().then(|| (here.trace_id(), here.span_id())))
}

fn with_current<T>(read: impl FnOnce(&SpanContext) -> T) -> T {
    Context::map_current(|context| read(context.span().span_context()))
}

pub(crate) fn traceparent(span: &SpanContext) -> String {
    format!("00-{}-{}-{:02x}", span.trace_id(), span.span_id(), span.trace_flags().to_u8())
}

/// The span that `traceparent` names; `None` if it is not valid.
pub(crate) fn remote(traceparent: &str) -> Option<SpanContext> {
    let context = TraceContextPropagator::new().extract_with_context(&Context::new(), &Carrier(traceparent));
    let remote = context.span().span_context().clone();
    remote.is_valid().then_some(remote)
}

/// The span that `traceparent` names, if its trace is sampled.
pub(crate) fn sampled(traceparent: &str) -> Option<SpanContext> {
    // The common case under load, and so without looking at the rest.
    if traceparent.ends_with("-00") {
        return None;
    }
    remote(traceparent).filter(SpanContext::is_sampled)
}

/// A link, for spans that are built by hand.
pub(crate) fn to(remote: SpanContext) -> opentelemetry::trace::Link {
    opentelemetry::trace::Link::new(remote, Vec::<KeyValue>::new(), 0)
}

/// Headers with one entry.
struct Carrier<'a>(&'a str);

impl Extractor for Carrier<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        (key == "traceparent").then_some(self.0)
    }

    fn keys(&self) -> Vec<&str> {
        vec!["traceparent"]
    }
}

#[cfg(test)]
mod tests;
