//! Publishing: a batch is enqueued whole, then every delivery is awaited.

use std::time::Duration;

use futures::future::join_all;
use rdkafka::client::Client;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::OwnedHeaders;
use rdkafka::producer::{FutureProducer, FutureRecord, Producer as _};
use rdkafka::{ClientConfig, ClientContext};

use crate::headers;
use crate::settings::KafkaSettings;

/// The most that librdkafka can be told to take; its own limit is 1,000,000 bytes.
const LARGEST: &str = "1000000000";
/// How long records wait for company.
const LINGER: Duration = Duration::from_millis(2);

/// A record to be published.
#[derive(Clone, Debug)]
pub struct OutgoingRecord {
    /// Topic.
    pub topic: String,
    /// Key; records of one key go to one partition.
    pub key: Option<Vec<u8>>,
    /// Value, sent as it stands.
    pub payload: Option<Vec<u8>>,
    /// Headers in the order they are sent.
    pub headers: OwnedHeaders,
}

impl OutgoingRecord {
    /// A record without headers.
    pub fn new(topic: impl Into<String>, key: impl Into<Vec<u8>>, payload: impl Into<Vec<u8>>) -> Self {
        let (key, payload) = (Some(key.into()), Some(payload.into()));
        Self { topic: topic.into(), key, payload, headers: OwnedHeaders::new() }
    }

    /// Adds a header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers = headers::with(self.headers, name, value);
        self
    }
}

/// Why a record was not acknowledged.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PublishError {
    /// The record itself is refused, for example for its size. Within a batch this may be the fault of a neighbour: it counts only
    /// for a record that was sent alone.
    #[error("refused by Kafka: {0}")]
    Refused(String),
    /// The topic is missing or not allowed: no record will pass until an operator mends it.
    #[error("Kafka is not set up for this: {0}")]
    Misconfigured(String),
    /// Brokers are away or slow. Whether the record was written is unknown.
    #[error("Kafka did not acknowledge: {0}")]
    Unavailable(String),
    /// The producer can no longer be used; build a new one.
    #[error("the producer failed for good: {0}")]
    Fatal(String),
}

impl PublishError {
    /// One word for it, for metrics and for `error.type` of a span.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Refused(_) => "refused",
            Self::Misconfigured(_) => "misconfigured",
            Self::Unavailable(_) => "unavailable",
            Self::Fatal(_) => "fatal",
        }
    }
}

/// A producer that waits for all in-sync replicas and keeps order and count over its own retries (`acks=all`, idempotence).
#[derive(Clone)]
pub struct Producer {
    inner: FutureProducer,
}

impl Producer {
    /// A producer that gives up on a record after `message_timeout`. Connects in the background.
    pub fn new(
        settings: &KafkaSettings,
        client_id: &str,
        message_timeout: Duration,
    ) -> Result<Self, KafkaError> {
        Self::with_linger(settings, client_id, message_timeout, LINGER)
    }

    /// As [`Self::new`], with records that wait for up to `linger` for others of their partition.
    pub fn with_linger(
        settings: &KafkaSettings,
        client_id: &str,
        message_timeout: Duration,
        linger: Duration,
    ) -> Result<Self, KafkaError> {
        Ok(Self { inner: config(settings, client_id, message_timeout, linger).create()? })
    }

    /// As [`Self::new`], for dead letters and replays: they are larger than the records that they carry, so their size is left to the topic's
    /// limit, which is on what is left after compression.
    pub fn for_letters(
        settings: &KafkaSettings,
        client_id: &str,
        message_timeout: Duration,
    ) -> Result<Self, KafkaError> {
        let mut config = config(settings, client_id, message_timeout, LINGER);
        Ok(Self { inner: config.set("message.max.bytes", LARGEST).create()? })
    }

    /// Enqueues a record at once; the future is its outcome. Records of one key are written in the order in which they were enqueued.
    pub fn send(
        &self,
        record: OutgoingRecord,
    ) -> impl Future<Output = Result<(), PublishError>> + Send + use<> {
        let (key, payload) = (record.key.as_deref(), record.payload.as_deref());
        let future_record = FutureRecord::<[u8], [u8]> {
            key,
            payload,
            ..FutureRecord::to(&record.topic).headers(record.headers)
        };
        let enqueued = self.inner.send_result(future_record).map_err(|(error, _)| error);
        let producer = self.clone();
        async move {
            let outcome = match enqueued {
                Ok(delivery) => match delivery.await {
                    Ok(Ok(_)) => Ok(()),
                    Ok(Err((error, _))) => Err(error),
                    Err(_) => Err(KafkaError::Canceled),
                },
                Err(error) => Err(error),
            };
            outcome.map_err(|error| classify(producer.inner.client(), &error))
        }
    }

    /// Publishes all records and returns their outcomes in the same order.
    pub async fn publish(&self, records: Vec<OutgoingRecord>) -> Vec<Result<(), PublishError>> {
        // All are enqueued before the first is awaited.
        let deliveries: Vec<_> = records.into_iter().map(|record| self.send(record)).collect();
        join_all(deliveries).await
    }

    /// Publishes one record.
    pub async fn publish_one(&self, record: OutgoingRecord) -> Result<(), PublishError> {
        self.publish(vec![record])
            .await
            .pop()
            .unwrap_or_else(|| Err(PublishError::Unavailable("no outcome".into())))
    }

    /// Asks the brokers for metadata of `topic`, for health checks. Waits at most `timeout`.
    pub async fn ping(&self, topic: &str, timeout: Duration) -> Result<(), String> {
        let producer = self.inner.clone();
        let topic = topic.to_owned();
        let asked = tokio::task::spawn_blocking(move || {
            producer.client().fetch_metadata(Some(&topic), timeout).map(drop)
        });
        match asked.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("the check was cancelled".to_owned()),
        }
    }
}

/// What every producer of records is set to.
pub(crate) fn config(
    settings: &KafkaSettings,
    client_id: &str,
    message_timeout: Duration,
    linger: Duration,
) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &settings.brokers)
        .set("client.id", client_id)
        .set("acks", "all")
        .set("enable.idempotence", "true")
        .set("compression.type", "lz4")
        .set("linger.ms", (linger.as_secs_f64() * 1e3).to_string())
        // What Java clients use: the same key goes to the same partition whoever writes it.
        .set("partitioner", "murmur2_random")
        .set("message.timeout.ms", message_timeout.as_millis().to_string())
        // A topic that is missing is called so before the record times out, and not after the default of 30 s.
        .set("topic.metadata.propagation.max.ms", "1000")
        .set("reconnect.backoff.max.ms", "1000");
    config
}

/// What an error of `client` means for the record.
pub(crate) fn classify<C: ClientContext>(client: &Client<C>, error: &KafkaError) -> PublishError {
    if let Some((code, reason)) = client.fatal_error() {
        return PublishError::Fatal(format!("{code}: {reason}"));
    }
    let reason = error.to_string();
    match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::Fatal) => PublishError::Fatal(reason),
        Some(
            RDKafkaErrorCode::MessageSizeTooLarge
            | RDKafkaErrorCode::InvalidMessage
            | RDKafkaErrorCode::InvalidMessageSize
            | RDKafkaErrorCode::InvalidRecord
            | RDKafkaErrorCode::InvalidTimestamp
            | RDKafkaErrorCode::PolicyViolation,
        ) => PublishError::Refused(reason),
        Some(
            RDKafkaErrorCode::UnknownTopicOrPartition
            | RDKafkaErrorCode::UnknownTopic
            | RDKafkaErrorCode::UnknownPartition
            | RDKafkaErrorCode::InvalidTopic
            | RDKafkaErrorCode::TopicAuthorizationFailed
            | RDKafkaErrorCode::ClusterAuthorizationFailed
            | RDKafkaErrorCode::Authentication,
        ) => PublishError::Misconfigured(reason),
        _ => PublishError::Unavailable(reason),
    }
}
