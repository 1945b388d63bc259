//! Metrics of the relay.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};

use messaging::PublishError;
use persistence::outbox::Depth;
use telemetry::metrics::{Counter, Counters, Gauge, Histogram, Histograms, JOURNEYS, MOMENTS, Metrics};

use crate::status::RelayStatus;

/// What the relay counts and measures. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct RelayMetrics {
    pub(crate) claimed: Counter,
    pub(crate) published: Counter,
    pub(crate) removed: Counter,
    failures: Counters<1>,
    durations: Histograms<0>,
    waits: Histograms<0>,
    /// From sending a record to its acknowledgement.
    pub(crate) publishing: Histogram,
    /// From the row to the acknowledgement.
    pub(crate) committed_to_published: Histogram,
    pub(crate) in_flight: Gauge,
    pub(crate) waiting: Gauge,
    /// `None` while the database does not say.
    depth: Arc<Mutex<Option<Depth>>>,
}

impl Default for RelayMetrics {
    fn default() -> Self {
        let failures = Counters::new(["reason"])
            .with(["refused"])
            .with(["misconfigured"])
            .with(["unavailable"])
            .with(["fatal"]);
        let (durations, waits) = (Histograms::new([], MOMENTS), Histograms::new([], JOURNEYS));
        Self {
            claimed: Counter::default(),
            published: Counter::default(),
            removed: Counter::default(),
            failures,
            publishing: durations.get([]),
            committed_to_published: waits.get([]),
            durations,
            waits,
            in_flight: Gauge::default(),
            waiting: Gauge::default(),
            depth: Arc::default(),
        }
    }
}

impl RelayMetrics {
    pub(crate) fn failed(&self, error: &PublishError) {
        self.failures.add([error.kind()], 1);
    }

    pub(crate) fn deep(&self, depth: Option<Depth>) {
        *self.depth.lock().unwrap_or_else(PoisonError::into_inner) = depth;
    }

    pub(crate) fn register(&self, metrics: &Metrics, status: &RelayStatus) {
        let counter = |name, help, counter: &Counter| metrics.register(name, help, counter.clone());
        counter("relay_claimed_rows", "Rows that were read from the outbox", &self.claimed);
        counter("relay_published_records", "Records that Kafka has acknowledged", &self.published);
        counter("relay_removed_rows", "Rows that were removed from the outbox", &self.removed);
        self.failures.register(metrics, "relay_publish_failures", "Records that Kafka did not acknowledge");
        self.durations.register(
            metrics,
            "relay_publish_duration_seconds",
            "Time from sending a record to its acknowledgement, in seconds",
        );
        self.waits.register(
            metrics,
            "relay_commit_to_publish_seconds",
            "Time from the row in the outbox to the acknowledgement of its record, in seconds",
        );
        metrics.register(
            "relay_records_in_flight",
            "Records sent and not acknowledged",
            self.in_flight.clone(),
        );
        metrics.register(
            "relay_rows_waiting",
            "Rows in hand that Kafka does not have yet",
            self.waiting.clone(),
        );
        let held = status.clone();
        metrics.gauge("relay_buckets_held", "Buckets that this relay publishes, of 64", move || {
            held.buckets() as f64
        });
        let blocked = status.clone();
        metrics.gauge(
            "outbox_blocked_keys",
            "Keys that wait for an operator, of the whole outbox",
            move || blocked.blocked_keys() as f64,
        );
        let gauge = |name, help, read: fn(Depth) -> f64| {
            let depth = self.depth.clone();
            metrics.gauges(name, help, [], move || {
                let depth = *depth.lock().unwrap_or_else(PoisonError::into_inner);
                depth.map(|depth| ([] as [Cow<'static, str>; 0], read(depth))).into_iter().collect()
            });
        };
        gauge(
            "outbox_rows",
            "Rows that wait to be published, of the whole outbox; 1,000 of each of the 64 buckets are counted",
            |depth| depth.rows as f64,
        );
        gauge(
            "outbox_oldest_row_age_seconds",
            "Age of the oldest row that waits to be published, of the whole outbox, in seconds",
            |depth| depth.oldest_seconds,
        );
    }
}
