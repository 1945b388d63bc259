//! Towards Kafka.

use futures::FutureExt;
use futures::stream::StreamExt;
use messaging::{Producer, PublishError};
use tokio::time::Instant;
use tracing::{error, warn};
use uuid::Uuid;

use super::Work;
use crate::lanes::Refused;
use crate::record::record;
use crate::status::Side;

/// Records enqueued, or acknowledgements taken, before anything else gets a turn.
const AT_ONCE: usize = 1024;

/// What became of the row in flight of a key.
pub(super) struct Report {
    key: Uuid,
    outcome: Result<(), PublishError>,
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
        if self.broken && self.deliveries.is_empty() {
            self.rebuild_producer(now);
        }
        let mut sent = 0;
        while sent < AT_ONCE && self.can_send(now) {
            let Some(row) = self.lanes.next() else { break };
            let (key, delivery) = (row.aggregate_id, self.producer.send(record(row)));
            self.deliveries.push(delivery.map(move |outcome| Report { key, outcome }).boxed());
            sent += 1;
        }
        self.kafka_rests = self.kafka_rests.filter(|rests| *rests > now);
        sent > 0
    }

    pub(super) fn reported(&mut self, report: Report) {
        self.take(report);
        for _ in 1..AT_ONCE {
            let Some(Some(report)) = self.deliveries.next().now_or_never() else { return };
            self.take(report);
        }
    }

    fn take(&mut self, Report { key, outcome }: Report) {
        match outcome {
            Ok(()) => {
                self.lanes.acknowledged(key);
                self.well(Side::Kafka);
            }
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
    fn rebuild_producer(&mut self, now: Instant) {
        match Producer::new(&self.kafka, "outbox-relay", self.settings.message_timeout) {
            Ok(producer) => {
                self.producer = producer;
                self.broken = false;
            }
            Err(error) => {
                warn!(%error, "could not build a new producer");
                self.kafka_rests = Some(now + self.settings.pause);
            }
        }
    }
}
