//! Starts logging and tracing.

use std::sync::OnceLock;
use std::time::Duration;

use opentelemetry::global;
use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanLimits, TracerProviderBuilder};
use opentelemetry_semantic_conventions::resource::{SERVICE_INSTANCE_ID, SERVICE_NAMESPACE, SERVICE_VERSION};
use tracing::{Subscriber, warn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{EnvFilter, Layer, Registry};

use crate::context;
use crate::export;
use crate::filter::{EventsBy, OnlySpans};
use crate::json_lines::JsonLines;
use crate::metrics::SpanMetrics;
use crate::sampler::FollowsOrShare;
use crate::settings::TraceSettings;
use crate::span::SCOPE;

/// How long the last spans may take to get away at the end of the process.
const FAREWELL: Duration = Duration::from_secs(2);

/// The running telemetry of the process.
#[derive(Clone, Debug)]
pub struct Telemetry {
    provider: SdkTracerProvider,
}

impl Telemetry {
    /// Hands over what is still buffered. Called once, at the end.
    pub async fn flush(self) {
        // The provider blocks while it waits for its processors.
        let flushed =
            tokio::task::spawn_blocking(move || self.provider.shutdown_with_timeout(FAREWELL)).await;
        if !matches!(flushed, Ok(Ok(()))) {
            warn!("the last spans could not be handed over");
        }
    }
}

/// Starts logging and tracing for this process: JSON lines on stdout, at the level of `LOG_LEVEL` (default `info`), and spans to where
/// `OTEL_EXPORTER_OTLP_ENDPOINT` says.
///
/// The error is one line for the operator. Calling it again changes nothing and returns what the first call made.
pub fn init(service_name: &'static str) -> Result<Telemetry, String> {
    static RUNNING: OnceLock<Result<Telemetry, String>> = OnceLock::new();
    RUNNING
        .get_or_init(|| {
            let level = std::env::var("LOG_LEVEL").ok().filter(|level| !level.is_empty());
            let level = level.unwrap_or_else(|| "info".to_owned());
            let traces = TraceSettings::from_environment()?;
            context::CONSUMERS.get_or_init(|| traces.consumers);
            let (subscriber, telemetry) =
                subscriber(service_name, filter(&level)?, std::io::stdout, provider(service_name, &traces)?);
            global::set_tracer_provider(telemetry.provider.clone());
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

/// Without an endpoint spans have ids, for the log and for others, and are not recorded.
fn provider(service_name: &'static str, settings: &TraceSettings) -> Result<SdkTracerProvider, String> {
    let Some(endpoint) = &settings.endpoint else {
        return Ok(builder(service_name, 0.0).build());
    };
    let processor = export::processor(endpoint, SpanMetrics::of_process())
        .map_err(|error| format!("spans cannot be sent to {endpoint}: {error}"))?;
    Ok(builder(service_name, settings.ratio).with_span_processor(processor).build())
}

pub(crate) fn builder(service_name: &'static str, ratio: f64) -> TracerProviderBuilder {
    let instance = uuid::Uuid::new_v4().to_string();
    let resource = Resource::builder_empty().with_service_name(service_name).with_attributes([
        opentelemetry::KeyValue::new(SERVICE_NAMESPACE, SCOPE),
        opentelemetry::KeyValue::new(SERVICE_VERSION, env!("CARGO_PKG_VERSION")),
        opentelemetry::KeyValue::new(SERVICE_INSTANCE_ID, instance),
    ]);
    // A batch is linked to its messages.
    let limits = SpanLimits { max_links_per_span: 1024, ..SpanLimits::default() };
    SdkTracerProvider::builder()
        .with_resource(resource.build())
        .with_sampler(FollowsOrShare::new(ratio))
        .with_span_limits(limits)
}

pub(crate) fn subscriber<W>(
    service_name: &'static str,
    filter: EnvFilter,
    writer: W,
    provider: SdkTracerProvider,
) -> (impl Subscriber + Send + Sync, Telemetry)
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let spans = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer(SCOPE))
        .with_location(false)
        .with_threads(false)
        .with_tracked_inactivity(false)
        .with_level(false)
        .with_target(false)
        .with_filter(OnlySpans);
    let lines = JsonLines::new(service_name, writer).with_filter(EventsBy(filter));
    (Registry::default().with(spans).with(lines), Telemetry { provider })
}

/// A panic becomes one log line. Only texts that are part of the program are shown: a formatted one may hold personal data.
pub fn log_panic(panic: &std::panic::PanicHookInfo<'_>) {
    let text = panic.payload().downcast_ref::<&'static str>().copied().unwrap_or("(text withheld)");
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    tracing::error!(panic.place = place, panic.text = text, "panicked");
}

#[cfg(test)]
mod tests;
