//! What travels between the scheduler and the workers.

use std::sync::Arc;

use rdkafka::message::{Headers, OwnedHeaders};
use tokio_util::sync::CancellationToken;

use super::availability::Pass;
use super::keys::Lane;

/// A record, owned.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) topic: Arc<str>,
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) key: Option<Vec<u8>>,
    pub(super) payload: Option<Vec<u8>>,
    pub(super) headers: Option<OwnedHeaders>,
}

impl Record {
    /// Bytes that it takes up, about.
    pub(super) fn size(&self) -> usize {
        let headers = self.headers.as_ref().map_or(0, |headers| {
            headers.iter().map(|header| header.key.len() + header.value.map_or(0, <[u8]>::len)).sum()
        });
        self.key().len() + self.payload().len() + headers + size_of::<Job>()
    }

    /// The key; empty if there is none.
    pub(super) fn key(&self) -> &[u8] {
        self.key.as_deref().unwrap_or_default()
    }

    /// The value; empty if there is none.
    pub(super) fn payload(&self) -> &[u8] {
        self.payload.as_deref().unwrap_or_default()
    }
}

/// A record on its way to a final outcome.
#[derive(Debug)]
pub(super) struct Job {
    /// The assignment it belongs to.
    pub(super) epoch: u64,
    pub(super) lane: Option<Lane>,
    pub(super) record: Record,
    /// Times it was handed to the handler.
    pub(super) tries: u32,
    /// Transient failures that counted.
    pub(super) failures: u32,
    /// Set once it is to go to dead letters.
    pub(super) burial: Option<Burial>,
}

impl Job {
    /// How often Kafka did not take its dead letter.
    pub(super) fn burial_failures(&self) -> u32 {
        self.burial.as_ref().map_or(0, |burial| burial.failures)
    }
}

/// A record's way to dead letters.
#[derive(Debug)]
pub(super) struct Burial {
    pub(super) reason: String,
    /// How often Kafka did not take the dead letter.
    pub(super) failures: u32,
}

/// One or several jobs in the hands of a worker: either all for the handler, or all for dead letters. Those of one key are in order.
#[derive(Debug)]
pub(super) struct Run {
    /// Ascending in the order in which runs began.
    pub(super) id: u64,
    pub(super) jobs: Vec<Job>,
    /// `None` if they are for dead letters.
    pub(super) pass: Option<Pass>,
    /// Cancelled when the partitions are gone and the time to finish is over.
    pub(super) cut_off: CancellationToken,
}

/// What a worker says about one job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The handler applied it.
    Done,
    /// Nothing for this consumer.
    Skipped,
    /// Not to be read.
    Undecodable(String),
    /// The handler's answers of the same names; `Retry` and `Poison` are about this job alone.
    Poison(String),
    Retry(String),
    Unavailable(String),
    /// The handler was not asked, or did not finish.
    Untouched,
    /// An earlier record of its key is held: to dead letters, behind it.
    Behind,
    /// Its dead letter is acknowledged.
    Buried,
    /// Kafka did not take its dead letter.
    Unburied(String),
}

impl Outcome {
    /// The handler was asked and answered.
    pub(super) fn is_answer(&self) -> bool {
        matches!(self, Self::Done | Self::Poison(_) | Self::Retry(_) | Self::Unavailable(_))
    }
}
