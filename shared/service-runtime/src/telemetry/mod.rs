//! Logs and trace context. An exporter of spans is added in [`init`] and nowhere else.

mod filter;
mod json_lines;

use std::collections::HashMap;
use std::sync::OnceLock;

use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{TraceContextExt, TracerProvider};
use opentelemetry::{Context, SpanId, TraceId};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::{Span, Subscriber, warn};
use tracing_opentelemetry::{OpenTelemetrySpanExt, SetParentError};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{EnvFilter, Layer, Registry};

use self::filter::{EventsBy, OnlySpans};
use self::json_lines::JsonLines;

/// The running telemetry of the process.
#[derive(Clone, Debug)]
pub struct Telemetry {
    provider: SdkTracerProvider,
}

impl Telemetry {
    /// Hands over what is still buffered. Called once, at the end.
    pub async fn flush(self) {
        // The provider blocks while it waits for its processors.
        let flushed = tokio::task::spawn_blocking(move || self.provider.shutdown()).await;
        if !matches!(flushed, Ok(Ok(()))) {
            warn!("the last spans could not be handed over");
        }
    }
}

/// Starts logging and tracing for this process: JSON lines on stdout, at the level of `LOG_LEVEL` (default `info`).
///
/// The error is one line for the operator. Calling it again changes nothing and returns what the first call made.
pub fn init(service_name: &'static str) -> Result<Telemetry, String> {
    static RUNNING: OnceLock<Result<Telemetry, String>> = OnceLock::new();
    RUNNING
        .get_or_init(|| {
            let level = std::env::var("LOG_LEVEL").ok().filter(|level| !level.is_empty());
            let level = level.unwrap_or_else(|| "info".to_owned());
            let (subscriber, telemetry) = subscriber(service_name, filter(&level)?, std::io::stdout);
            tracing::subscriber::set_global_default(subscriber)
                .map_err(|_| "another logger was started before telemetry".to_owned())?;
            Ok(telemetry)
        })
        .clone()
}

/// While brokers are away the Kafka client repeats so twice a second for each connection; librdkafka's own lines say the same, thinned out.
const REPEATS: &str = "rdkafka::client=off";

fn filter(level: &str) -> Result<EnvFilter, String> {
    EnvFilter::builder().parse(format!("{REPEATS},{level}")).map_err(|_| {
        format!("LOG_LEVEL='{level}' is not valid: expected a level (error, warn, info, debug, trace) or target=level pairs")
    })
}

fn subscriber<W>(
    service_name: &'static str,
    filter: EnvFilter,
    writer: W,
) -> (impl Subscriber + Send + Sync, Telemetry)
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    // The seam: a span processor with an exporter goes onto this builder.
    let provider = SdkTracerProvider::builder().build();
    let spans = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("orderflow"))
        .with_location(false)
        .with_threads(false)
        .with_tracked_inactivity(false)
        .with_filter(OnlySpans);
    let lines = JsonLines::new(service_name, writer).with_filter(EventsBy(filter));
    (Registry::default().with(spans).with(lines), Telemetry { provider })
}

/// Makes `span` part of the trace that `traceparent` names. Must be called before the span is entered for the first time.
/// Without a valid `traceparent` the span starts a trace of its own.
pub fn continue_trace(span: &Span, traceparent: Option<&str>) {
    let Some(traceparent) = traceparent else { return };
    let carrier = HashMap::from([("traceparent".to_owned(), traceparent.to_owned())]);
    let parent = TraceContextPropagator::new().extract_with_context(&Context::new(), &carrier);
    if !parent.span().span_context().is_valid() {
        return;
    }
    if let Err(SetParentError::AlreadyStarted) = span.set_parent(parent) {
        warn!("trace split: the span was entered before its parent was set");
    }
}

/// The W3C `traceparent` of where we are, to be stored or sent on.
pub fn current_traceparent() -> Option<String> {
    let context = Context::current();
    let span = context.span();
    let span = span.span_context();
    span.is_valid()
        .then(|| format!("00-{}-{}-{:02x}", span.trace_id(), span.span_id(), span.trace_flags().to_u8()))
}

/// The trace we are in: 32 hex digits.
pub fn current_trace_id() -> Option<String> {
    current_ids().map(|(trace, _)| trace.to_string())
}

pub(crate) fn current_ids() -> Option<(TraceId, SpanId)> {
    let context = Context::current();
    let span = context.span();
    let span = span.span_context();
    span.is_valid().then(|| (span.trace_id(), span.span_id()))
}

/// A panic becomes one log line. Only texts that are part of the program are shown: a formatted one may hold personal data.
pub(crate) fn log_panic(panic: &std::panic::PanicHookInfo<'_>) {
    let text = panic.payload().downcast_ref::<&'static str>().copied().unwrap_or("(text withheld)");
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    tracing::error!(panic.place = place, panic.text = text, "panicked");
}

#[cfg(test)]
mod tests;
