//! Spans made by hand, where a `tracing` span would be made in vain: nothing is built where the trace is not sampled.

use std::borrow::Cow;

use opentelemetry::global::{self, BoxedSpan};
use opentelemetry::trace::{Span as _, Status, TraceContextExt, Tracer};
use opentelemetry::{Context, Value};
use opentelemetry_semantic_conventions::attribute::ERROR_TYPE;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::context::{consumers, sampled, to, traceparent};
use crate::settings::Consumers;

pub use opentelemetry::KeyValue;
pub use opentelemetry::trace::SpanKind;
/// The names of the OpenTelemetry semantic conventions.
pub use opentelemetry_semantic_conventions::attribute as names;

/// Name of the instrumentation scope.
pub(crate) const SCOPE: &str = "orderflow";

/// An attribute.
pub fn attribute(name: &'static str, value: impl Into<Value>) -> KeyValue {
    KeyValue::new(name, value)
}

/// A step of the business, as a `tracing` span around what belongs to it; none where the trace is not sampled.
#[macro_export]
macro_rules! step {
    ($name:literal $(, $($fields:tt)*)?) => {
        if $crate::is_sampled() {
            ::tracing::info_span!($name $(, $($fields)*)?)
        } else {
            ::tracing::Span::none()
        }
    };
}

/// Something that is done once and has no steps of its own, such as a call to another process. It ends when this is dropped.
#[derive(Debug, Default)]
pub struct Call(Option<BoxedSpan>);

impl Call {
    /// A part of where we are.
    pub fn here(
        name: impl Into<Cow<'static, str>>,
        kind: SpanKind,
        attributes: impl FnOnce() -> Vec<KeyValue>,
    ) -> Self {
        Context::map_current(|here| {
            if !here.span().span_context().is_sampled() {
                return Self(None);
            }
            let tracer = global::tracer(SCOPE);
            let builder = tracer.span_builder(name).with_kind(kind).with_attributes(attributes());
            Self(Some(builder.start_with_context(&tracer, here)))
        })
    }

    /// A part of the trace that `traceparent` names.
    pub fn child_of(
        traceparent: &str,
        name: impl FnOnce() -> Cow<'static, str>,
        kind: SpanKind,
        attributes: impl FnOnce() -> Vec<KeyValue>,
    ) -> Self {
        let Some(parent) = sampled(traceparent) else { return Self(None) };
        let tracer = global::tracer(SCOPE);
        let builder = tracer.span_builder(name()).with_kind(kind).with_attributes(attributes());
        Self(Some(builder.start_with_context(&tracer, &Context::new().with_remote_span_context(parent))))
    }

    /// The handling of a message that came with `traceparent`, as part of the handling of many in `batch`, to which it is linked.
    pub fn in_batch(
        traceparent: Option<&str>,
        batch: &Span,
        name: impl FnOnce() -> Cow<'static, str>,
        attributes: impl FnOnce() -> Vec<KeyValue>,
    ) -> Self {
        let Some(sender) = traceparent.and_then(sampled) else { return Self(None) };
        let parent = match consumers() {
            Consumers::Child => Context::new().with_remote_span_context(sender.clone()),
            Consumers::Link => Context::new(),
        };
        let batch = batch.context().span().span_context().clone();
        let tracer = global::tracer(SCOPE);
        let builder = tracer
            .span_builder(name())
            .with_kind(SpanKind::Consumer)
            .with_attributes(attributes())
            .with_links(vec![to(sender), to(batch)]);
        Self(Some(builder.start_with_context(&tracer, &parent)))
    }

    /// Its `traceparent`, to be sent to who does the rest. `None` if it is not recorded: then what applied before goes on to apply.
    pub fn traceparent(&self) -> Option<String> {
        self.0.as_ref().map(|span| traceparent(span.span_context()))
    }

    /// Adds what was found out.
    pub fn set(&mut self, name: &'static str, value: impl Into<Value>) {
        if let Some(span) = &mut self.0 {
            span.set_attribute(KeyValue::new(name, value));
        }
    }

    /// It failed. `kind` is one of few words, for `error.type`; the description is for people. No personal data.
    pub fn failed(&mut self, kind: impl Into<Cow<'static, str>>, description: impl Into<Cow<'static, str>>) {
        if let Some(span) = &mut self.0 {
            span.set_attribute(KeyValue::new(ERROR_TYPE, kind.into().into_owned()));
            span.set_status(Status::error(description));
        }
    }
}
