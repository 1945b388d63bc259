//! Metrics of a consumer.

use std::borrow::Cow;

use telemetry::metrics::{Counter, Counters, Histogram, Histograms, JOURNEYS, MOMENTS, Metrics};

use crate::consumer::ConsumerStatus;
use crate::lag::Lag;

/// Upper bounds for how many records are in a batch.
const BATCHES: &[f64] = &[1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0];

/// What a consumer counts and measures. Clones share it.
#[derive(Clone, Debug)]
pub struct ConsumerMetrics {
    group: &'static str,
    records: Counters<2>,
    dead_letters: Counters<1>,
    handling: Histograms<1>,
    batches: Histograms<1>,
    end_to_end: Histograms<1>,
    pub(crate) of: Series,
    /// How far the group is behind; filled by [`lag::watch`](crate::lag::watch).
    pub lag: Lag,
}

/// The series, looked up once.
#[derive(Clone, Debug)]
pub(crate) struct Series {
    pub(crate) applied: Counter,
    pub(crate) repeat: Counter,
    pub(crate) skipped: Counter,
    pub(crate) retry: Counter,
    pub(crate) poison: Counter,
    pub(crate) undecodable: Counter,
    pub(crate) unavailable: Counter,
    pub(crate) dead_letters: Counter,
    pub(crate) handling: Histogram,
    pub(crate) batches: Histogram,
    pub(crate) end_to_end: Histogram,
}

impl ConsumerMetrics {
    /// Of a consumer in `group`.
    pub fn new(group: &'static str) -> Self {
        let label = Cow::Borrowed(group);
        let records = Counters::new(["group", "outcome"]);
        let dead_letters = Counters::new(["group"]);
        let handling = Histograms::new(["group"], MOMENTS);
        let batches = Histograms::new(["group"], BATCHES);
        let end_to_end = Histograms::new(["group"], JOURNEYS);
        let outcome = |name: &'static str| records.get([label.clone(), Cow::Borrowed(name)]);
        let of = Series {
            applied: outcome("applied"),
            repeat: outcome("repeat"),
            skipped: outcome("skipped"),
            retry: outcome("retry"),
            poison: outcome("poison"),
            undecodable: outcome("undecodable"),
            unavailable: outcome("unavailable"),
            dead_letters: dead_letters.get([label.clone()]),
            handling: handling.get([label.clone()]),
            batches: batches.get([label.clone()]),
            end_to_end: end_to_end.get([label.clone()]),
        };
        Self { group, records, dead_letters, handling, batches, end_to_end, of, lag: Lag::default() }
    }

    /// Registers them, and what `status` says of the consumer.
    pub fn register(&self, metrics: &Metrics, status: &ConsumerStatus) {
        self.records.register(
            metrics,
            "consumer_records",
            "Records by what became of each try to handle them",
        );
        self.dead_letters.register(metrics, "consumer_dead_letters", "Records that went to dead letters");
        self.handling.register(
            metrics,
            "consumer_handling_duration_seconds",
            "Time that the handler took for a record, or for a batch of them, in seconds",
        );
        self.batches.register(metrics, "consumer_batch_records", "Records that were handled at once");
        self.end_to_end.register(
            metrics,
            "consumer_end_to_end_seconds",
            "Time from the row in the outbox to the effect of its event, in seconds",
        );
        let group = self.group;
        let gauge = |name, help, read: fn(&ConsumerStatus) -> f64| {
            let status = status.clone();
            metrics.gauges(name, help, ["group"], move || vec![([Cow::Borrowed(group)], read(&status))]);
        };
        gauge("consumer_records_in_flight", "Records in memory that are not finished", |status| {
            status.held() as f64
        });
        gauge("consumer_partitions_assigned", "Partitions that this process reads", |status| {
            status.assigned() as f64
        });
        gauge(
            "consumer_paused",
            "1 while an operator, or too many dead letters, keep it from handling",
            |status| f64::from(u8::from(status.is_paused())),
        );
        let lag = self.lag.clone();
        metrics.gauges(
            "consumer_lag_records",
            "Records that the whole group has not committed",
            ["group", "topic", "partition"],
            move || {
                let all = lag.partitions().into_iter();
                all.map(|lag| (place(group, lag.topic, lag.partition), lag.records as f64)).collect()
            },
        );
        let lag = self.lag.clone();
        metrics.gauges(
            "consumer_lag_seconds",
            "Age of the oldest record that the whole group has not committed, in seconds; 0 if there is none",
            ["group", "topic", "partition"],
            move || {
                let all = lag.partitions().into_iter();
                all.filter_map(|lag| Some((place(group, lag.topic, lag.partition), lag.seconds?))).collect()
            },
        );
    }
}

fn place(group: &'static str, topic: String, partition: i32) -> [Cow<'static, str>; 3] {
    [Cow::Borrowed(group), Cow::Owned(topic), Cow::Owned(partition.to_string())]
}
