//! What a consumer tells about its work: a span for each try to handle a record, by OpenTelemetry's conventions for messaging, and the counts that
//! go with it.
//!
//! A record that is handled alone has a span in which its handler works. Records that are handled together share a span that carries the work, in
//! a trace of its own; each has a span in the trace of its order beside it, linked to that one.

use std::time::Duration;

use chrono::{DateTime, Utc};
use telemetry::span::{Call, KeyValue, attribute, names};
use tracing::{Span, field, info_span};

use super::job::{Job, Outcome};
use super::worker::{Office, traceparent};
use crate::headers;

/// The header that says when the row of the event was written (CloudEvents, binary mode).
const TIME: &str = "ce_time";
/// The header with the identity of the event.
const ID: &str = "ce_id";
/// What became of a try. Ours; there is no convention.
const OUTCOME: &str = "orderflow.outcome";

/// What is noted of a try.
pub(super) struct Verdict<'a> {
    name: &'static str,
    /// Why it failed, if it did.
    reason: Option<&'a str>,
}

impl<'a> Verdict<'a> {
    pub(super) fn of(outcome: &'a Outcome, repeat: bool) -> Self {
        let (name, reason) = match outcome {
            Outcome::Done if repeat => ("repeat", None),
            Outcome::Done => ("applied", None),
            Outcome::Skipped => ("skipped", None),
            Outcome::Undecodable(reason) => ("undecodable", Some(reason)),
            Outcome::Poison(reason) => ("poison", Some(reason)),
            Outcome::Retry(reason) => ("retry", Some(reason)),
            Outcome::Unavailable(reason) => ("unavailable", Some(reason)),
            Outcome::Untouched | Outcome::Behind => ("untouched", None),
            Outcome::Buried => ("dead_lettered", None),
            Outcome::Unburied(reason) => ("not_dead_lettered", Some(reason)),
        };
        Self { name, reason: reason.map(String::as_str) }
    }

    /// Of a record in a batch that failed as a whole, and is split.
    pub(super) fn in_failed_batch(reason: &'a str) -> Self {
        Self { name: "batch_failed", reason: Some(reason) }
    }

    pub(super) fn on_span(&self, span: &Span) {
        span.record(OUTCOME, self.name);
        if let Some(reason) = self.reason {
            span.record("error.type", self.name);
            span.record("otel.status_code", "ERROR");
            span.record("otel.status_description", reason);
        }
    }

    fn on_call(&self, call: &mut Call) {
        call.set(OUTCOME, self.name);
        if let Some(reason) = self.reason {
            call.failed(self.name, reason.to_owned());
        }
    }
}

impl Office {
    /// The span in which a record is handled alone, as part of the record's trace. Its fields also stand in the lines of the log.
    pub(super) fn span(&self, job: &Job) -> Span {
        let record = &job.record;
        let span = info_span!(
            parent: None,
            "process",
            otel.name = format!("process {}", record.topic),
            otel.kind = "consumer",
            otel.status_code = field::Empty,
            otel.status_description = field::Empty,
            "error.type" = field::Empty,
            "orderflow.outcome" = field::Empty,
            messaging.destination.name = &*record.topic,
            messaging.destination.partition.id = record.partition.to_string(),
            messaging.kafka.offset = record.offset,
            messaging.consumer.group.name = self.group,
        );
        telemetry::continue_message(&span, traceparent(job), || processing(job));
        span
    }

    /// The span in which records are handled together. It belongs to many traces and so to none; it is linked to those that are sampled.
    pub(super) fn batch_span<'a>(&self, jobs: impl Iterator<Item = &'a Job> + Clone) -> Span {
        let span = info_span!(
            parent: None,
            "process batch",
            otel.name = "process batch",
            otel.kind = "consumer",
            otel.status_code = field::Empty,
            otel.status_description = field::Empty,
            "error.type" = field::Empty,
            "orderflow.outcome" = field::Empty,
            messaging.system = "kafka",
            messaging.operation.name = "process",
            "messaging.operation.type" = "process",
            messaging.batch.message_count = i64::try_from(jobs.clone().count()).unwrap_or(i64::MAX),
            messaging.consumer.group.name = self.group,
        );
        let sampled = |job: &&Job| traceparent(job).is_some_and(|text| !text.ends_with("-00"));
        if jobs.clone().any(|job| sampled(&job)) {
            for job in jobs.filter(sampled) {
                telemetry::link(&span, traceparent(job));
            }
        } else {
            // With one that is not sampled it is not sampled either. Without any it is a matter of the share.
            let mut jobs = jobs;
            jobs.any(|job| telemetry::link(&span, traceparent(job)));
        }
        span
    }

    /// The span of a record among others that are handled in `batch`.
    pub(super) fn span_in_batch(&self, job: &Job, batch: &Span) -> Call {
        let record = &job.record;
        let name = || format!("process {}", record.topic).into();
        Call::in_batch(traceparent(job), batch, name, || {
            let mut all = processing(job);
            all.extend([
                attribute(names::MESSAGING_DESTINATION_NAME, record.topic.to_string()),
                attribute(names::MESSAGING_DESTINATION_PARTITION_ID, record.partition.to_string()),
                attribute(names::MESSAGING_KAFKA_OFFSET, record.offset),
                attribute(names::MESSAGING_CONSUMER_GROUP_NAME, self.group),
            ]);
            all
        })
    }

    /// The span in which a record's dead letter is written.
    pub(super) fn letter_span(&self, job: &Job) -> Span {
        let span = info_span!(
            parent: None,
            "dead letter",
            otel.name = format!("send {}", crate::dead_letters::topic(&job.record.topic, self.group)),
            otel.kind = "producer",
            otel.status_code = "ERROR",
            otel.status_description = job.burial.as_ref().map(|burial| burial.reason.as_str()),
            "error.type" = "dead_lettered",
            "orderflow.outcome" = "dead_lettered",
            messaging.consumer.group.name = self.group,
        );
        telemetry::continue_message(&span, traceparent(job), || {
            let mut all = described(job, "send");
            all.push(attribute("orderflow.attempts", i64::from(job.tries)));
            all
        });
        span
    }

    /// Notes what became of a try, on the span of the record and in the counts.
    pub(super) fn noted(&self, job: &Job, outcome: &Outcome, repeat: bool, span: &Span) {
        Verdict::of(outcome, repeat).on_span(span);
        self.count(job, outcome, repeat);
    }

    /// As [`Self::noted`], for a record of a batch.
    pub(super) fn noted_in_batch(&self, job: &Job, outcome: &Outcome, repeat: bool, mut call: Call) {
        Verdict::of(outcome, repeat).on_call(&mut call);
        self.count(job, outcome, repeat);
    }

    /// The handling of a batch failed, and is begun again in parts.
    pub(super) fn split(&self, reason: &str, calls: Vec<Call>) {
        for mut call in calls {
            Verdict::in_failed_batch(reason).on_call(&mut call);
        }
    }

    pub(super) fn count(&self, job: &Job, outcome: &Outcome, repeat: bool) {
        let series = &self.metrics.of;
        match outcome {
            Outcome::Done if repeat => series.repeat.inc(),
            Outcome::Done => {
                if let Some(took) = since_written(job) {
                    series.end_to_end.observe_of(took.as_secs_f64(), traceparent(job));
                }
                series.applied.inc()
            }
            Outcome::Skipped => series.skipped.inc(),
            Outcome::Undecodable(_) => series.undecodable.inc(),
            Outcome::Poison(_) => series.poison.inc(),
            Outcome::Retry(_) => series.retry.inc(),
            Outcome::Unavailable(_) => series.unavailable.inc(),
            Outcome::Untouched | Outcome::Behind | Outcome::Buried | Outcome::Unburied(_) => return,
        };
    }

    pub(super) fn handled(&self, records: usize, took: Duration, job: Option<&Job>) {
        let traceparent = job.and_then(traceparent);
        self.metrics.of.handling.observe_of(took.as_secs_f64(), traceparent);
        self.metrics.of.batches.observe_of(records as f64, traceparent);
    }
}

fn processing(job: &Job) -> Vec<KeyValue> {
    let mut all = described(job, "process");
    all.push(attribute("orderflow.attempt", i64::from(job.tries.saturating_add(1))));
    all
}

/// What is told of a record only where its trace is sampled.
fn described(job: &Job, operation: &'static str) -> Vec<KeyValue> {
    let size = i64::try_from(job.record.payload().len()).unwrap_or(i64::MAX);
    let mut all = vec![
        attribute(names::MESSAGING_SYSTEM, "kafka"),
        attribute(names::MESSAGING_OPERATION_NAME, operation),
        attribute(names::MESSAGING_OPERATION_TYPE, operation),
        attribute(names::MESSAGING_MESSAGE_BODY_SIZE, size),
    ];
    all.extend(key(job).map(|key| attribute(names::MESSAGING_KAFKA_MESSAGE_KEY, key.to_owned())));
    all.extend(id(job).map(|id| attribute(names::MESSAGING_MESSAGE_ID, id.to_owned())));
    all
}

/// The key, if it is text. Events are keyed by the id of what they are about.
fn key(job: &Job) -> Option<&str> {
    std::str::from_utf8(job.record.key()).ok().filter(|key| !key.is_empty())
}

fn id(job: &Job) -> Option<&str> {
    job.record.headers.as_ref().and_then(|all| headers::text(all, ID))
}

/// The time since the row of the event was written; 0 for what a faster clock wrote.
fn since_written(job: &Job) -> Option<Duration> {
    let time = headers::text(job.record.headers.as_ref()?, TIME)?;
    let written = DateTime::parse_from_rfc3339(time).ok()?;
    Some((Utc::now() - written.to_utc()).to_std().unwrap_or_default())
}
