//! A mock cluster with one topic and one group, and consumers that write down what they handled.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use messaging::consumer::{
    self, Answer, BatchHandler, ConsumerSettings, ConsumerStatus, Delivered, Delivery, Handler,
};
use messaging::dead_letters::{self, Letter};
use messaging::headers;
use messaging::reader::{ReadRecord, TopicReader};
use messaging::{KafkaSettings, OutgoingRecord, Producer, RetrySettings};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{DefaultProducerContext, DeliveryFuture, FutureProducer, FutureRecord};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use telemetry::metrics::Metrics;
use testkit::{PATIENCE, eventually};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(crate) const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

pub(crate) type Log = Arc<Mutex<Vec<String>>>;

pub(crate) struct Fixture {
    cluster: MockCluster<'static, DefaultProducerContext>,
    brokers: String,
    pub(crate) topic: String,
    pub(crate) group: &'static str,
    producer: FutureProducer,
    handled: Log,
}

struct Recording<F> {
    decide: F,
    pace: Option<Duration>,
    handled: Log,
}

impl<F: Fn(&str, &Delivery) -> Answer + Send + Sync + 'static> Handler for Recording<F> {
    type Event = String;

    async fn handle(&self, event: &String, delivery: &Delivery) -> Answer {
        // The work of the handler, not a wait for something.
        if let Some(pace) = self.pace {
            tokio::time::sleep(pace).await;
        }
        self.handled.lock().unwrap().push(event.clone());
        (self.decide)(event, delivery)
    }
}

struct RecordingBatches<F> {
    decide: F,
    handled: Log,
}

impl<F: Fn(&[&str]) -> Answer + Send + Sync + 'static> BatchHandler for RecordingBatches<F> {
    type Event = String;

    async fn handle_batch(&self, batch: &[Delivered<String>]) -> Answer {
        let events: Vec<&str> = batch.iter().map(|one| one.event.as_str()).collect();
        let answer = (self.decide)(&events);
        if answer == Answer::Ok {
            self.handled.lock().unwrap().extend(events.iter().map(ToString::to_string));
        }
        answer
    }
}

fn decode(payload: &[u8]) -> Result<Option<String>, &'static str> {
    match std::str::from_utf8(payload).unwrap_or("garbage") {
        "garbage" => Err("not an event"),
        "unknown" => Ok(None),
        text => Ok(Some(text.to_owned())),
    }
}

pub(crate) struct Running {
    pub(crate) status: ConsumerStatus,
    pub(crate) metrics: Metrics,
    handled: Log,
    pub(crate) shutdown: CancellationToken,
    pub(crate) task: JoinHandle<Result<(), consumer::ConsumerError>>,
}

impl Running {
    pub(crate) async fn until(&self, condition: impl Fn(&[String]) -> bool) {
        eventually("the consumer has handled enough", async || {
            let handled = self.handled.lock().unwrap().clone();
            if condition(&handled) { Ok(()) } else { Err(format!("handled {}", handled.len())) }
        })
        .await;
    }

    pub(crate) async fn until_handled(&self, count: usize) {
        self.until(|handled| handled.len() >= count).await;
    }

    pub(crate) async fn eventually(&self, what: &str, condition: impl Fn(&ConsumerStatus) -> bool) {
        eventually(
            what,
            async || {
                if condition(&self.status) { Ok(()) } else { Err(format!("{:?}", self.status)) }
            },
        )
        .await;
    }

    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.unwrap().unwrap();
    }
}

impl Fixture {
    pub(crate) async fn new(group: &'static str, partitions: i32) -> Self {
        let cluster = MockCluster::new(1).unwrap();
        let topic = "things".to_owned();
        cluster.create_topic(&topic, partitions, 1).unwrap();
        cluster.create_topic(&dead_letters::topic(&topic, group), 1, 1).unwrap();
        cluster.create_topic(&dead_letters::retry_topic(&topic, group), 1, 1).unwrap();
        let brokers = cluster.bootstrap_servers();
        let producer = ClientConfig::new().set("bootstrap.servers", &brokers).create().unwrap();
        Self { cluster, brokers, topic, group, producer, handled: Arc::default() }
    }

    /// Records of one key.
    pub(crate) async fn produce(&self, partition: i32, payloads: &[impl AsRef<str>]) {
        let records: Vec<(&str, &str)> = payloads.iter().map(|payload| ("key", payload.as_ref())).collect();
        self.produce_keyed(partition, &records).await;
    }

    /// Records with their keys.
    pub(crate) async fn produce_keyed(&self, partition: i32, records: &[(impl AsRef<str>, impl AsRef<str>)]) {
        let sent: Vec<DeliveryFuture> = records
            .iter()
            .map(|(key, payload)| {
                let headers =
                    OwnedHeaders::new().insert(Header { key: "traceparent", value: Some(TRACEPARENT) });
                let record = FutureRecord::to(&self.topic)
                    .partition(partition)
                    .key(key.as_ref())
                    .payload(payload.as_ref())
                    .headers(headers);
                self.producer.send_result(record).map_err(|(error, _)| error).unwrap()
            })
            .collect();
        for delivery in sent {
            delivery.await.unwrap().map_err(|(error, _)| error).unwrap();
        }
    }

    /// A fresh key for each payload.
    pub(crate) async fn produce_unrelated(&self, partition: i32, payloads: &[impl AsRef<str>]) {
        let records: Vec<_> = payloads.iter().map(|payload| (payload.as_ref(), payload.as_ref())).collect();
        self.produce_keyed(partition, &records).await;
    }

    pub(crate) fn consume(
        &self,
        decide: impl Fn(&str, &Delivery) -> Answer + Send + Sync + 'static,
    ) -> Running {
        self.start(decide, None)
    }

    /// As [`Self::consume`], paused from the beginning.
    pub(crate) fn consume_paused(
        &self,
        why: &str,
        decide: impl Fn(&str, &Delivery) -> Answer + Send + Sync + 'static,
    ) -> Running {
        let status = ConsumerStatus::default();
        status.control().pause(why);
        let handler = Recording { decide, pace: None, handled: self.handled.clone() };
        self.run_as(status, self.settings(), handler)
    }

    /// Each record takes the handler `pace`.
    pub(crate) fn consume_at(
        &self,
        pace: Duration,
        decide: impl Fn(&str, &Delivery) -> Answer + Send + Sync + 'static,
    ) -> Running {
        self.start(decide, Some(pace))
    }

    fn start(
        &self,
        decide: impl Fn(&str, &Delivery) -> Answer + Send + Sync + 'static,
        pace: Option<Duration>,
    ) -> Running {
        self.run(self.settings(), Recording { decide, pace, handled: self.handled.clone() })
    }

    /// Three attempts and short waits.
    pub(crate) fn settings(&self) -> ConsumerSettings {
        let retry = RetrySettings {
            retry_max_attempts: 3,
            retry_base: Duration::from_millis(20),
            retry_cap: Duration::from_millis(50),
        };
        ConsumerSettings::new(self.kafka(), retry, self.group, &self.topic)
    }

    /// Whatever the handler does; it writes down itself what it handled.
    pub(crate) fn run(&self, settings: ConsumerSettings, handler: impl Handler<Event = String>) -> Running {
        self.run_as(ConsumerStatus::default(), settings, handler)
    }

    fn run_as(
        &self,
        status: ConsumerStatus,
        settings: ConsumerSettings,
        handler: impl Handler<Event = String>,
    ) -> Running {
        let (shutdown, metrics) = (CancellationToken::new(), Metrics::new());
        settings.metrics.register(&metrics, &status);
        let task = tokio::spawn(consumer::run(settings, decode, handler, status.clone(), shutdown.clone()));
        Running { status, metrics, handled: self.handled.clone(), shutdown, task }
    }

    /// Batches; those that end well are written down.
    pub(crate) fn consume_batches(
        &self,
        decide: impl Fn(&[&str]) -> Answer + Send + Sync + 'static,
    ) -> Running {
        self.run_batches(self.settings(), RecordingBatches { decide, handled: self.handled.clone() })
    }

    /// Whatever the handler does; it writes down itself what it handled.
    pub(crate) fn run_batches(
        &self,
        settings: ConsumerSettings,
        handler: impl BatchHandler<Event = String>,
    ) -> Running {
        let (status, shutdown) = (ConsumerStatus::default(), CancellationToken::new());
        let (stop, metrics) = (shutdown.clone(), Metrics::new());
        settings.metrics.register(&metrics, &status);
        let task = tokio::spawn(consumer::run_batches(settings, decode, handler, status.clone(), stop));
        Running { status, metrics, handled: self.handled.clone(), shutdown, task }
    }

    /// Where handlers write down what they handled.
    pub(crate) fn log(&self) -> Log {
        self.handled.clone()
    }

    pub(crate) fn handled(&self) -> Vec<String> {
        self.handled.lock().unwrap().clone()
    }

    /// The committed offset, -1 if there is none.
    pub(crate) fn committed(&self, partition: i32) -> i64 {
        let consumer = self.reader();
        let mut list = TopicPartitionList::new();
        list.add_partition(&self.topic, partition);
        let committed = consumer.committed_offsets(list, PATIENCE).unwrap();
        match committed.find_partition(&self.topic, partition).unwrap().offset() {
            Offset::Offset(offset) => offset,
            _ => -1,
        }
    }

    /// The only broker goes away, and with it the coordinator of the group.
    pub(crate) fn lose_brokers(&self) {
        self.cluster.broker_down(1).unwrap();
    }

    /// The next writes are refused, as if all were too large.
    pub(crate) fn refuse_writes(&self) {
        let refused = [RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE; 1000];
        self.cluster.request_errors(RDKafkaApiKey::Produce, &refused);
    }

    pub(crate) fn accept_writes(&self) {
        self.cluster.clear_request_errors(RDKafkaApiKey::Produce);
    }

    /// Everything on a topic with one partition.
    pub(crate) async fn records(&self, topic: &str) -> Vec<ReadRecord> {
        let reader = TopicReader::connect(&self.kafka(), topic, PATIENCE).await.unwrap();
        let (from, to): (Vec<i64>, Vec<i64>) = reader.watermarks().await.unwrap().into_iter().unzip();
        let mut batches = reader.read(&from, &to);
        let mut records = Vec::new();
        while let Some(batch) = batches.recv().await {
            records.extend(batch.unwrap());
        }
        records
    }

    /// Publishes as an operator's tool does.
    pub(crate) async fn publish(&self, records: Vec<OutgoingRecord>) {
        let producer = Producer::new(&self.kafka(), "operator", PATIENCE).unwrap();
        producer.publish(records).await.into_iter().for_each(|outcome| outcome.unwrap());
    }

    fn kafka(&self) -> KafkaSettings {
        KafkaSettings { brokers: self.brokers.clone() }
    }

    fn reader(&self) -> BaseConsumer {
        ClientConfig::new()
            .set("bootstrap.servers", &self.brokers)
            .set("group.id", self.group)
            .set("enable.auto.commit", "false")
            .create()
            .unwrap()
    }
}

/// Everything in the group's dead-letter topic.
pub(crate) async fn dead_letters(fixture: &Fixture) -> Vec<Letter> {
    fixture.records(&dead_letters::topic(&fixture.topic, fixture.group)).await.iter().map(letter).collect()
}

fn letter(record: &ReadRecord) -> Letter {
    Letter::read(record).unwrap()
}

pub(crate) fn payload(letter: &Letter) -> &str {
    std::str::from_utf8(&letter.payload).unwrap()
}

pub(crate) fn traceparent(letter: &Letter) -> &str {
    headers::text(&letter.headers, headers::TRACEPARENT).unwrap_or_default()
}
