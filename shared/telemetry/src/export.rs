//! The way of spans to the collector. It holds nobody up: what does not get through is dropped, and counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use opentelemetry::Context;
use opentelemetry_otlp::{ExporterBuildError, Protocol, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Span, SpanData, SpanExporter, SpanProcessor,
};
use tracing::{info, warn};

use crate::metrics::SpanMetrics;

/// Spans that wait for the collector, at most: some 8 MB.
const WAITING: usize = 8192;
/// Spans in one message to the collector.
const BATCH: usize = 512;
/// How long spans wait for company.
const EVERY: Duration = Duration::from_millis(500);
/// How long the collector may take for one message, repeats included.
const PATIENCE: Duration = Duration::from_secs(3);

/// A processor that sends spans to `endpoint` (OTLP over HTTP, the path included), from a thread of its own.
pub(crate) fn processor(
    endpoint: &str,
    metrics: SpanMetrics,
) -> Result<impl SpanProcessor + use<>, ExporterBuildError> {
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(endpoint)
        .with_timeout(PATIENCE)
        .build()?;
    Ok(Bounded::new(exporter, WAITING, metrics))
}

/// Lets in as many spans as may wait.
#[derive(Debug)]
struct Bounded {
    inner: BatchSpanProcessor,
    room: usize,
    waiting: Arc<AtomicUsize>,
    metrics: SpanMetrics,
}

impl Bounded {
    fn new<E: SpanExporter + 'static>(exporter: E, room: usize, metrics: SpanMetrics) -> Self {
        let waiting = Arc::new(AtomicUsize::new(0));
        let counted = Counted {
            inner: exporter,
            waiting: waiting.clone(),
            metrics: metrics.clone(),
            away: AtomicBool::new(false),
        };
        // Its own bound is never reached: it drops without a word that others could read.
        let config = BatchConfigBuilder::default()
            .with_max_queue_size(room.saturating_add(BATCH))
            .with_max_export_batch_size(BATCH)
            .with_scheduled_delay(EVERY)
            .build();
        let inner = BatchSpanProcessor::builder(counted).with_batch_config(config).build();
        Self { inner, room, waiting, metrics }
    }
}

impl SpanProcessor for Bounded {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.inner.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        if !span.span_context.is_sampled() {
            return;
        }
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= self.room {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            self.metrics.queue_full.inc();
            return;
        }
        self.inner.on_end(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

/// Counts what became of spans, and logs when the collector goes away and comes back.
#[derive(Debug)]
struct Counted<E> {
    inner: E,
    waiting: Arc<AtomicUsize>,
    metrics: SpanMetrics,
    away: AtomicBool,
}

impl<E: SpanExporter> SpanExporter for Counted<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        self.waiting.fetch_sub(spans, Ordering::Relaxed);
        let result = self.inner.export(batch).await;
        let was_away = self.away.swap(result.is_err(), Ordering::Relaxed);
        match &result {
            Ok(()) => {
                self.metrics.exported.inc_by(spans as u64);
                if was_away {
                    info!("the trace collector takes spans again");
                }
            }
            Err(error) => {
                self.metrics.export_failed.inc_by(spans as u64);
                if !was_away {
                    warn!(%error, "the trace collector does not take spans, they are dropped until it does");
                }
            }
        }
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

#[cfg(test)]
mod tests;
