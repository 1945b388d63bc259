//! The events that are written, and the records that become of them.

use chrono::{SecondsFormat, Utc};
use messaging::OutgoingRecord;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use uuid::Uuid;

/// Keys. Many, as orders are; each gets its next event long after the one before.
pub(super) const KEYS: i64 = 50_000;
/// Bytes of a payload.
pub(super) const SIZE: usize = 500;
/// CloudEvents `type`.
pub(super) const TYPE: &str = "BenchEvent";
/// CloudEvents `source`.
pub(super) const SOURCE: &str = "/loadtest/bench";

/// An event to be written.
#[derive(Clone, Debug)]
pub(super) struct Event {
    pub(super) id: Uuid,
    pub(super) key: Uuid,
    pub(super) sequence: i64,
    pub(super) payload: String,
}

impl Event {
    /// The first `count` events; nothing is left to be computed when they are written.
    pub(super) fn list(count: u64) -> Vec<Self> {
        let mut random = StdRng::from_rng(&mut rand::rng());
        (0..count.cast_signed()).map(|number| Self::new(number, &mut random)).collect()
    }

    fn new(number: i64, random: &mut StdRng) -> Self {
        let id = Uuid::from_u128(random.random());
        let mut payload = format!(r#"{{"id":"{id}","data":""#);
        while payload.len() < SIZE {
            payload.push_str(&format!("{:016x}", random.random::<u64>()));
        }
        // What ends it has two bytes.
        payload.truncate(SIZE - 2);
        payload.push_str(r#""}"#);
        let key = Uuid::from_u128((number % KEYS).cast_unsigned().into());
        Self { id, key, sequence: number / KEYS + 1, payload }
    }

    /// The record that a relay makes of it.
    pub(super) fn record(&self, topic: &str) -> OutgoingRecord {
        let key = self.key.to_string();
        OutgoingRecord::new(topic, key.as_str(), self.payload.as_bytes())
            .header("ce_specversion", "1.0")
            .header("ce_id", &self.id.to_string())
            .header("ce_type", TYPE)
            .header("ce_source", SOURCE)
            .header("ce_subject", &key)
            .header("ce_time", &Utc::now().to_rfc3339_opts(SecondsFormat::Micros, true))
            .header("ce_sequence", &self.sequence.to_string())
            .header("content-type", "application/json")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_payload_is_json_of_500_bytes_that_names_its_event() {
        for event in Event::list(100) {
            assert_eq!(event.payload.len(), SIZE);
            let payload: serde_json::Value = serde_json::from_str(&event.payload).unwrap();
            assert_eq!(payload["id"], event.id.to_string());
        }
    }
}
