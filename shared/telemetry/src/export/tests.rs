use std::sync::mpsc;

use opentelemetry::trace::{Span as _, Tracer, TracerProvider};
use opentelemetry_sdk::error::OTelSdkError;
use opentelemetry_sdk::trace::SdkTracerProvider;

use super::*;

/// A collector that answers when it is told what to.
#[derive(Debug)]
struct Collector(std::sync::Mutex<mpsc::Receiver<OTelSdkResult>>);

impl SpanExporter for Collector {
    async fn export(&self, _: Vec<SpanData>) -> OTelSdkResult {
        self.0.lock().unwrap().recv().unwrap_or(Ok(()))
    }
}

fn provider(room: usize) -> (SdkTracerProvider, SpanMetrics, mpsc::Sender<OTelSdkResult>) {
    let (answers, receiver) = mpsc::channel();
    let metrics = SpanMetrics::default();
    let bounded = Bounded::new(Collector(std::sync::Mutex::new(receiver)), room, metrics.clone());
    (SdkTracerProvider::builder().with_span_processor(bounded).build(), metrics, answers)
}

fn spans(provider: &SdkTracerProvider, count: usize) {
    let tracer = provider.tracer("test");
    (0..count).for_each(|_| tracer.start("span").end());
}

fn counts(metrics: &SpanMetrics) -> (u64, u64, u64) {
    (metrics.exported.get(), metrics.queue_full.get(), metrics.export_failed.get())
}

#[test]
fn while_the_collector_hangs_spans_beyond_the_bound_are_dropped_and_counted_and_nobody_waits() {
    let (provider, metrics, answers) = provider(100);
    spans(&provider, 1000);
    // What the exporter took out before it hung made room for as many.
    let (_, dropped, _) = counts(&metrics);
    assert!((1000 - 100 - BATCH as u64..=900).contains(&dropped), "{dropped}");
    drop(answers);
    provider.shutdown().unwrap();
    assert_eq!(counts(&metrics), (1000 - dropped, dropped, 0));
}

#[test]
fn spans_that_the_collector_refuses_are_counted_and_later_ones_pass() {
    let (provider, metrics, answers) = provider(100);
    spans(&provider, 3);
    answers.send(Err(OTelSdkError::InternalFailure("refused".to_owned()))).unwrap();
    assert!(provider.force_flush().is_err());
    assert_eq!(counts(&metrics), (0, 0, 3));
    spans(&provider, 2);
    drop(answers);
    provider.shutdown().unwrap();
    assert_eq!(counts(&metrics), (2, 0, 3));
}

/// As the process does it, to a collector at `address`.
fn real(address: std::net::SocketAddr) -> (SdkTracerProvider, SpanMetrics) {
    let metrics = SpanMetrics::default();
    let processor = processor(&format!("http://{address}/v1/traces"), metrics.clone()).unwrap();
    (SdkTracerProvider::builder().with_span_processor(processor).build(), metrics)
}

#[test]
fn spans_for_a_collector_that_is_not_there_are_counted_as_lost() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (provider, metrics) = real(nobody);
    spans(&provider, 7);
    provider.force_flush().ok();
    assert_eq!(counts(&metrics), (0, 0, 7));
}

#[test]
fn a_collector_that_never_answers_does_not_keep_a_process_from_its_end() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (provider, metrics) = real(silent.local_addr().unwrap());
    spans(&provider, 7);
    let started = std::time::Instant::now();
    assert!(provider.shutdown_with_timeout(Duration::from_millis(300)).is_err());
    assert!(started.elapsed() < PATIENCE, "{:?}", started.elapsed());
    assert_eq!(counts(&metrics).0, 0);
}
