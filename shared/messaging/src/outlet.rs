//! Publishing many records without a future for each: outcomes come in bulk to whoever asks for them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::error::KafkaError;
use rdkafka::message::OwnedHeaders;
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer as _, ProducerContext, ThreadedProducer};
use tokio::sync::Notify;

use crate::aside::Aside;
use crate::headers;
use crate::producer::{PublishError, classify, config};
use crate::settings::KafkaSettings;

/// A record whose parts stay with the caller: librdkafka copies them.
#[derive(Debug)]
pub struct BorrowedRecord<'a> {
    /// Topic.
    pub topic: &'a str,
    /// Key; records of one key go to one partition.
    pub key: &'a [u8],
    /// Value, sent as it stands.
    pub payload: &'a [u8],
    /// Headers in the order they are sent.
    pub headers: OwnedHeaders,
}

impl<'a> BorrowedRecord<'a> {
    /// Headers for which room is made at first.
    const HEADERS: usize = 10;

    /// A record without headers.
    pub fn new(topic: &'a str, key: &'a [u8], payload: &'a [u8]) -> Self {
        Self { topic, key, payload, headers: OwnedHeaders::new_with_capacity(Self::HEADERS) }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers = headers::with(self.headers, name, value);
        self
    }
}

/// A producer like [`Producer`](crate::Producer), with the same guarantees, for one caller who sends many records: each carries a token, and tokens
/// come back with their outcomes, as many at a time as there are.
pub struct Outlet<T: Send + Sync + 'static> {
    producer: Aside<ThreadedProducer<Landing<T>>>,
    landed: Arc<Landed<T>>,
}

/// What came back and was not asked for yet. Bounded by what was sent.
struct Landed<T> {
    reports: Mutex<Vec<(T, Result<(), KafkaError>)>>,
    told: Notify,
}

impl<T> Landed<T> {
    fn add(&self, token: T, outcome: Result<(), KafkaError>) {
        let first = {
            let mut reports = self.reports.lock().unwrap_or_else(PoisonError::into_inner);
            reports.push((token, outcome));
            reports.len() == 1
        };
        if first {
            self.told.notify_one();
        }
    }

    fn take(&self) -> Vec<(T, Result<(), KafkaError>)> {
        std::mem::take(&mut *self.reports.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Called by librdkafka, on the thread that polls it.
struct Landing<T>(Arc<Landed<T>>);

impl<T: Send + Sync + 'static> ClientContext for Landing<T> {}

impl<T: Send + Sync + 'static> ProducerContext for Landing<T> {
    type DeliveryOpaque = Box<T>;

    fn delivery(&self, result: &DeliveryResult<'_>, token: Box<T>) {
        let outcome = result.as_ref().map(drop).map_err(|(error, _)| error.clone());
        self.0.add(*token, outcome);
    }
}

impl<T: Send + Sync + 'static> Outlet<T> {
    /// An outlet that gives up on a record after `message_timeout`. Records are held back for up to `linger`, so that those of a partition
    /// travel together. Connects in the background.
    ///
    /// # Errors
    /// Settings that librdkafka does not take.
    pub fn new(
        settings: &KafkaSettings,
        client_id: &str,
        message_timeout: Duration,
        linger: Duration,
    ) -> Result<Self, KafkaError> {
        let landed = Arc::new(Landed { reports: Mutex::default(), told: Notify::new() });
        let producer = config(settings, client_id, message_timeout, linger)
            .create_with_context(Landing(landed.clone()))?;
        Ok(Self { producer: Aside::new(producer), landed })
    }

    /// Enqueues a record at once. Records of one key are written in the order in which they were enqueued. The token comes back exactly once, from
    /// [`Outlet::outcomes`], also if the record could not be enqueued.
    pub fn send(&self, record: BorrowedRecord<'_>, token: T) {
        let BorrowedRecord { topic, key, payload, headers } = record;
        let record = BaseRecord::<[u8], [u8], _>::with_opaque_to(topic, Box::new(token))
            .key(key)
            .payload(payload)
            .headers(headers);
        if let Err((error, record)) = self.producer.send(record) {
            self.landed.add(*record.delivery_opaque, Err(error));
        }
    }

    /// Waits until an outcome is there and returns all that are, in the order in which they came. May be dropped and called again: nothing
    /// is lost.
    pub async fn outcomes(&self) -> Vec<(T, Result<(), PublishError>)> {
        loop {
            let reports = self.landed.take();
            if !reports.is_empty() {
                return reports.into_iter().map(|(token, outcome)| (token, self.judged(outcome))).collect();
            }
            self.landed.told.notified().await;
        }
    }

    fn judged(&self, outcome: Result<(), KafkaError>) -> Result<(), PublishError> {
        outcome.map_err(|error| classify(self.producer.client(), &error))
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::mocking::MockCluster;
    use rdkafka::producer::DefaultProducerContext;

    use super::*;

    const TOPIC: &str = "things";

    fn cluster() -> MockCluster<'static, DefaultProducerContext> {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic(TOPIC, 2, 1).unwrap();
        cluster
    }

    fn outlet(brokers: String, message_timeout: Duration) -> Outlet<usize> {
        Outlet::new(&KafkaSettings { brokers }, "test", message_timeout, Duration::ZERO).unwrap()
    }

    fn record<'a>(topic: &'a str, key: &'a str, payload: &'a str) -> BorrowedRecord<'a> {
        BorrowedRecord::new(topic, key.as_bytes(), payload.as_bytes())
    }

    async fn all(outlet: &Outlet<usize>, count: usize) -> Vec<(usize, Result<(), PublishError>)> {
        let mut outcomes = Vec::new();
        while outcomes.len() < count {
            outcomes.extend(outlet.outcomes().await);
        }
        outcomes
    }

    #[tokio::test]
    async fn every_token_comes_back_once_in_the_order_of_its_key() {
        let cluster = cluster();
        let outlet = outlet(cluster.bootstrap_servers(), testkit::PATIENCE);
        for token in 0..1000 {
            outlet.send(record(TOPIC, if token % 2 == 0 { "even" } else { "odd" }, "{}"), token);
        }
        let outcomes = all(&outlet, 1000).await;
        assert!(outcomes.iter().all(|(_, outcome)| outcome.is_ok()), "{outcomes:?}");
        for parity in 0..2 {
            let tokens: Vec<usize> =
                outcomes.iter().map(|(token, _)| *token).filter(|token| token % 2 == parity).collect();
            assert_eq!(tokens, (0..1000).filter(|token| token % 2 == parity).collect::<Vec<_>>());
        }
    }

    #[tokio::test]
    async fn a_record_that_cannot_even_be_enqueued_comes_back_as_refused() {
        let cluster = cluster();
        let outlet = outlet(cluster.bootstrap_servers(), testkit::PATIENCE);
        outlet.send(record(TOPIC, "large", &"x".repeat(2_000_000)), 7);
        let outcomes = all(&outlet, 1).await;
        assert!(matches!(outcomes.as_slice(), [(7, Err(PublishError::Refused(_)))]), "{outcomes:?}");
    }

    #[tokio::test]
    async fn an_answer_that_never_comes_is_an_outage_and_not_a_refusal() {
        let outlet = outlet("127.0.0.1:1".to_owned(), Duration::from_millis(50));
        outlet.send(record(TOPIC, "key", "{}"), 1);
        let outcomes = all(&outlet, 1).await;
        assert!(matches!(outcomes.as_slice(), [(1, Err(PublishError::Unavailable(_)))]), "{outcomes:?}");
    }
}
