//! Towards Kafka.

use chrono::{DateTime, Utc};
use messaging::{KafkaSettings, Outlet, PublishError};
use telemetry::span::Call;
use tokio::time::Instant;
use tracing::{error, warn};
use uuid::Uuid;

use super::Work;
use crate::lanes::Refused;
use crate::record::{CLIENT_ID, record, sending};
use crate::relay::RelaySettings;
use crate::status::Side;

/// Records enqueued before anything else gets a turn.
const AT_ONCE: usize = 1024;

/// What became of the row in flight of a key.
pub(super) type Report = (Sent, Result<(), PublishError>);

/// A row in flight. Travels with its record and comes back with the outcome.
pub(crate) struct Sent {
    key: Uuid,
    span: Call,
    at: Instant,
    created_at: DateTime<Utc>,
}

/// The way to Kafka.
pub(crate) fn outlet(kafka: &KafkaSettings, settings: &RelaySettings) -> anyhow::Result<Outlet<Sent>> {
    Ok(Outlet::new(kafka, CLIENT_ID, settings.message_timeout, settings.linger)?)
}

impl Work {
    /// Whether Kafka may be given records now: nothing may be in flight when the leases end.
    pub(super) fn can_send(&self, now: Instant) -> bool {
        !self.broken
            && self.kafka_rests.is_none_or(|rests| rests <= now)
            && now + self.settings.message_timeout < self.ends
            && self.lanes.in_flight() < self.settings.in_flight
    }

    /// Enqueues what may be sent; returns whether that was anything.
    pub(super) fn send(&mut self, now: Instant) -> bool {
        if self.broken && self.lanes.in_flight() == 0 {
            self.rebuild_outlet(now);
        }
        let mut sent = 0;
        while sent < AT_ONCE && self.can_send(now) {
            let Some(row) = self.lanes.next() else { break };
            let mut text = Uuid::encode_buffer();
            let key = row.aggregate_id.hyphenated().encode_lower(&mut text);
            let span = sending(row, key);
            let record = record(row, key, &span);
            self.outlet
                .send(record, Sent { key: row.aggregate_id, span, at: now, created_at: row.created_at });
            sent += 1;
        }
        self.kafka_rests = self.kafka_rests.filter(|rests| *rests > now);
        sent > 0
    }

    pub(super) fn reported(&mut self, reports: Vec<Report>) {
        if reports.iter().any(|(_, outcome)| outcome.is_ok()) {
            self.well(Side::Kafka);
        }
        let (now, time) = (Instant::now(), Utc::now());
        for (mut sent, outcome) in reports {
            if let Err(failure) = &outcome {
                sent.span.failed(failure.kind(), failure.to_string());
            }
            self.measure(&sent, &outcome, now, time);
            self.take(sent.key, outcome);
        }
    }

    fn measure(&self, sent: &Sent, outcome: &Result<(), PublishError>, now: Instant, time: DateTime<Utc>) {
        let metrics = &self.status.metrics;
        match outcome {
            Ok(()) => {
                let traceparent = sent.span.traceparent();
                let took = now.saturating_duration_since(sent.at).as_secs_f64();
                // The database's clock may be ahead of ours.
                let waited = (time - sent.created_at).to_std().unwrap_or_default().as_secs_f64();
                metrics.published.inc();
                metrics.publishing.observe_of(took, traceparent.as_deref());
                metrics.committed_to_published.observe_of(waited, traceparent.as_deref());
            }
            Err(error) => metrics.failed(error),
        }
    }

    fn take(&mut self, key: Uuid, outcome: Result<(), PublishError>) {
        match outcome {
            Ok(()) => self.lanes.acknowledged(key),
            Err(PublishError::Refused(reason)) => match self.lanes.refused(key) {
                Some(Refused::Alone(row)) => {
                    error!(%key, event_id = %row.event_id, reason, "Kafka refuses this event, its key is blocked");
                    self.refused.push_back((row, reason));
                }
                Some(Refused::Dropped(bucket)) => self.horizon.read_anew(bucket),
                None => {}
            },
            Err(failure) => {
                self.broken |= matches!(failure, PublishError::Fatal(_));
                if let Some(bucket) = self.lanes.failed(key) {
                    self.horizon.read_anew(bucket);
                }
                self.kafka_rests = Some(Instant::now() + self.settings.pause);
                self.trouble(Side::Kafka, failure.to_string());
            }
        }
    }

    /// Once nothing is in flight any more: every row is sent again from the table's order.
    fn rebuild_outlet(&mut self, now: Instant) {
        match outlet(&self.kafka, &self.settings) {
            Ok(outlet) => {
                self.outlet = outlet;
                self.broken = false;
            }
            Err(error) => {
                warn!(%error, "could not build a new producer");
                self.kafka_rests = Some(now + self.settings.pause);
            }
        }
    }
}
