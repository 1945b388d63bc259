//! The envelope around every event.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Version of the event schemas this build writes, `major.minor`. A minor step only adds optional fields.
pub const SCHEMA_VERSION: &str = "1.0";
const MAJOR: u32 = 1;

/// Name space of event ids (a random UUID, fixed for ever).
const EVENT_IDS: Uuid = Uuid::from_u128(0x6f1d_3b52_9a0e_4c57_8f44_2f0a_7c1e_9d36);

/// The id of event number `sequence` of an aggregate: the same inputs give the same id in every process and at every
/// try, so that a republished event is recognised as the one it repeats (UUID version 5, RFC 9562).
pub fn event_id(aggregate_id: Uuid, sequence: i64) -> Uuid {
    Uuid::new_v5(&EVENT_IDS, format!("{aggregate_id}/{sequence}").as_bytes())
}

/// One event with what is true of every event.
///
/// `sequence` counts 1, 2, … per aggregate and is assigned while the aggregate's row is locked; `id` follows from
/// aggregate and sequence ([`event_id`]).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Envelope<T> {
    /// Identity of the event; consumers keep it in their inbox.
    pub id: Uuid,
    /// What happened, for example `OrderCreated`.
    #[serde(rename = "type")]
    pub event_type: String,
    /// `major.minor` of the schema of `data`.
    pub schema_version: String,
    /// The process that decided it, for example `/orderflow/order-api`.
    pub source: String,
    /// Whom it happened to; also the key of the Kafka record.
    pub aggregate_id: Uuid,
    /// Position among the events of the aggregate, from 1.
    pub sequence: i64,
    /// When it was decided, UTC.
    pub occurred_at: DateTime<Utc>,
    /// What the event type says about it.
    pub data: T,
}

impl<T> Envelope<T> {
    /// Event number `sequence` of `aggregate_id`, in the current schema version.
    pub fn new(
        event_type: &str,
        source: &str,
        aggregate_id: Uuid,
        sequence: i64,
        occurred_at: DateTime<Utc>,
        data: T,
    ) -> Self {
        Self {
            id: event_id(aggregate_id, sequence),
            event_type: event_type.to_owned(),
            schema_version: SCHEMA_VERSION.to_owned(),
            source: source.to_owned(),
            aggregate_id,
            sequence,
            occurred_at,
            data,
        }
    }
}

/// Why a record is not an event that this build can apply. The texts carry no field values, since a record may hold
/// personal data.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum DecodeError {
    /// Not JSON, or not an envelope.
    #[error("not an event envelope: {0}")]
    NotAnEnvelope(String),
    /// A version this build must not guess at.
    #[error("schema version {found} is not supported, this build reads {MAJOR}.x")]
    UnsupportedVersion {
        /// What the envelope said, or `unreadable`.
        found: String,
    },
    /// The envelope is sound, its data are not.
    #[error("the data of the event do not fit its type: {0}")]
    BadData(String),
}

impl DecodeError {
    /// Position and category of a JSON error without the text around it.
    pub(crate) fn place(error: &serde_json::Error) -> String {
        format!("{:?} error at line {} column {}", error.classify(), error.line(), error.column())
            .to_lowercase()
    }
}

/// Refuses a higher major version; a higher minor one only added optional fields.
pub(crate) fn check_version(version: &str) -> Result<(), DecodeError> {
    let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
    match major {
        Some(MAJOR) => Ok(()),
        Some(other) => Err(DecodeError::UnsupportedVersion { found: other.to_string() }),
        None => Err(DecodeError::UnsupportedVersion { found: "unreadable".to_owned() }),
    }
}
