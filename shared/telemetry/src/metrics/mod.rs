//! Metrics of a process, in the text form of OpenMetrics 1.0.
//!
//! Each crate lists its metrics in a file `metrics.rs`, as a struct that can be made without a registry and registers clones of what it holds.

mod process;

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, LazyLock, PoisonError, RwLock};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::HistogramWithExemplars;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::registry::{Metric, Registry};

pub use prometheus_client::metrics::counter::Counter;
pub use prometheus_client::metrics::gauge::Gauge;

use crate::context;

/// What the text is, for the header `Content-Type`.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Upper bounds in seconds for what takes a moment: a request, a statement, a call of a provider.
pub const MOMENTS: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// Upper bounds in seconds for what may also wait for hours, while something is away.
pub const JOURNEYS: &[f64] = &[
    0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0,
];

type Labels<const N: usize> = [(&'static str, Cow<'static, str>); N];

fn labels<const N: usize>(keys: [&'static str; N], values: [Cow<'static, str>; N]) -> Labels<N> {
    let mut values = values.into_iter();
    keys.map(|key| (key, values.next().unwrap_or_default()))
}

/// The metrics of a process. Clones share them.
#[derive(Clone)]
pub struct Metrics(Arc<RwLock<Registry>>);

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Those of the process itself, and of its spans.
    pub fn new() -> Self {
        let metrics = Self(Arc::default());
        process::register(&metrics);
        SpanMetrics::of_process().register(&metrics);
        metrics
    }

    /// Adds a metric. A counter's name is given without its `_total`. To be called once for a name.
    pub fn register(&self, name: &'static str, help: &'static str, metric: impl Metric) {
        self.with(|registry| registry.register(name, help.trim_end_matches('.'), metric));
    }

    /// Adds a gauge that is read whenever somebody asks; `read` must not block.
    pub fn gauge(
        &self,
        name: &'static str,
        help: &'static str,
        read: impl Fn() -> f64 + Send + Sync + 'static,
    ) {
        self.gauges(name, help, [], move || vec![([], read())]);
    }

    /// Adds gauges that are read whenever somebody asks, one for each combination of labels; `read` must not block.
    pub fn gauges<const N: usize>(
        &self,
        name: &'static str,
        help: &'static str,
        keys: [&'static str; N],
        read: impl Fn() -> Vec<([Cow<'static, str>; N], f64)> + Send + Sync + 'static,
    ) {
        self.read(name, help, MetricType::Gauge, keys, read);
    }

    fn read<const N: usize>(
        &self,
        name: &'static str,
        help: &'static str,
        kind: MetricType,
        keys: [&'static str; N],
        read: impl Fn() -> Vec<([Cow<'static, str>; N], f64)> + Send + Sync + 'static,
    ) {
        let reading = Reading { name, help, kind, keys, read };
        self.with(|registry| registry.register_collector(Box::new(reading)));
    }

    /// All of them as text.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let registry = self.0.read().unwrap_or_else(PoisonError::into_inner);
        // Writing into a string fails only where a value of ours fails to be written.
        if encode(&mut text, &registry).is_err() {
            tracing::error!("a metric could not be written");
        }
        text
    }

    fn with(&self, add: impl FnOnce(&mut Registry)) {
        add(&mut self.0.write().unwrap_or_else(PoisonError::into_inner));
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// Values that are read when somebody asks.
struct Reading<const N: usize, F> {
    name: &'static str,
    help: &'static str,
    kind: MetricType,
    keys: [&'static str; N],
    read: F,
}

impl<const N: usize, F> fmt::Debug for Reading<N, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reading").field("name", &self.name).finish_non_exhaustive()
    }
}

impl<const N: usize, F> Collector for Reading<N, F>
where
    F: Fn() -> Vec<([Cow<'static, str>; N], f64)> + Send + Sync + 'static,
{
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut family = encoder.encode_descriptor(self.name, self.help, None, self.kind)?;
        for (values, value) in (self.read)() {
            if N == 0 {
                write(&mut family, self.kind, value)?;
            } else {
                write(&mut family.encode_family(&labels(self.keys, values))?, self.kind, value)?;
            }
        }
        Ok(())
    }
}

fn write(encoder: &mut MetricEncoder<'_>, kind: MetricType, value: f64) -> fmt::Result {
    match kind {
        MetricType::Counter => encoder.encode_counter::<[(&str, &str); 0], _, f64>(&value, None),
        _ => encoder.encode_gauge(&value),
    }
}

/// Counters of one name with labels.
#[derive(Clone, Debug)]
pub struct Counters<const N: usize> {
    keys: [&'static str; N],
    family: Family<Labels<N>, Counter>,
}

impl<const N: usize> Counters<N> {
    /// Counters with these label names.
    pub fn new(keys: [&'static str; N]) -> Self {
        Self { keys, family: Family::default() }
    }

    /// Shows this combination of labels from the start, at 0: what was never seen cannot rise.
    #[must_use]
    pub fn with(self, values: [&'static str; N]) -> Self {
        self.get(values.map(Cow::Borrowed));
        self
    }

    /// Counts `count` more of these labels.
    pub fn add(&self, values: [&'static str; N], count: u64) {
        self.get(values.map(Cow::Borrowed)).inc_by(count);
    }

    /// The counter of these labels, for who counts often.
    pub fn get(&self, values: [Cow<'static, str>; N]) -> Counter {
        self.family.get_or_create_owned(&labels(self.keys, values))
    }

    /// Registers them.
    pub fn register(&self, metrics: &Metrics, name: &'static str, help: &'static str) {
        metrics.register(name, help, self.family.clone());
    }
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, prometheus_client::encoding::EncodeLabelSet)]
struct TraceLabel {
    trace_id: String,
}

#[derive(Clone, Copy, Debug)]
struct Buckets(&'static [f64]);

impl MetricConstructor<HistogramWithExemplars<TraceLabel>> for Buckets {
    fn new_metric(&self) -> HistogramWithExemplars<TraceLabel> {
        HistogramWithExemplars::new(self.0.iter().copied())
    }
}

/// Histograms of one name with labels. Each bucket remembers the trace of a recent observation, if it was sampled (an exemplar).
#[derive(Clone, Debug)]
pub struct Histograms<const N: usize> {
    keys: [&'static str; N],
    family: Family<Labels<N>, HistogramWithExemplars<TraceLabel>, Buckets>,
}

impl<const N: usize> Histograms<N> {
    /// Histograms with these label names, and buckets with these upper bounds.
    pub fn new(keys: [&'static str; N], buckets: &'static [f64]) -> Self {
        Self { keys, family: Family::new_with_constructor(Buckets(buckets)) }
    }

    /// Shows this combination of labels from the start.
    #[must_use]
    pub fn with(self, values: [&'static str; N]) -> Self {
        drop(self.family.get_or_create(&labels(self.keys, values.map(Cow::Borrowed))));
        self
    }

    /// The histogram of these labels.
    pub fn get(&self, values: [Cow<'static, str>; N]) -> Histogram {
        Histogram(self.family.get_or_create_owned(&labels(self.keys, values)))
    }

    /// Registers them.
    pub fn register(&self, metrics: &Metrics, name: &'static str, help: &'static str) {
        metrics.register(name, help, self.family.clone());
    }
}

/// One of [`Histograms`], for who measures often.
#[derive(Clone, Debug)]
pub struct Histogram(HistogramWithExemplars<TraceLabel>);

impl Histogram {
    /// Notes a value that belongs to where we are.
    pub fn observe(&self, value: f64) {
        self.note(value, context::is_sampled().then(context::current_trace_id).flatten());
    }

    /// Notes a value that belongs to the trace that `traceparent` names.
    pub fn observe_of(&self, value: f64, traceparent: Option<&str>) {
        // What is no valid traceparent may be anything, personal data too.
        self.note(value, traceparent.and_then(context::sampled).map(|span| span.trace_id().to_string()));
    }

    fn note(&self, value: f64, trace_id: Option<String>) {
        let label = trace_id.map(|trace_id| TraceLabel { trace_id });
        let at = label.is_some().then(std::time::SystemTime::now);
        self.0.observe(value, label, at);
    }
}

/// What became of spans. One for the process, as its tracer is.
#[derive(Clone, Debug)]
pub(crate) struct SpanMetrics {
    pub(crate) exported: Counter,
    pub(crate) queue_full: Counter,
    pub(crate) export_failed: Counter,
    dropped: Counters<1>,
}

impl Default for SpanMetrics {
    fn default() -> Self {
        let dropped = Counters::new(["reason"]);
        let reason = |reason: &'static str| dropped.get([Cow::Borrowed(reason)]);
        let (queue_full, export_failed) = (reason("queue_full"), reason("export_failed"));
        Self { exported: Counter::default(), queue_full, export_failed, dropped }
    }
}

impl SpanMetrics {
    pub(crate) fn of_process() -> Self {
        static OF_PROCESS: LazyLock<SpanMetrics> = LazyLock::new(SpanMetrics::default);
        OF_PROCESS.clone()
    }

    fn register(&self, metrics: &Metrics) {
        metrics.register("trace_spans_exported", "Spans that the collector took", self.exported.clone());
        self.dropped.register(
            metrics,
            "trace_spans_dropped",
            "Spans that were lost on the way to the collector: too many waited, or it did not take them",
        );
    }
}

#[cfg(test)]
mod tests;
