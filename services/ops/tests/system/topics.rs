//! Kafka as the tests look at it: how far the groups are, and what is in the dead letters.

use std::collections::BTreeMap;
use std::time::Duration;

use contracts::topics::{ANALYTICS_GROUP, EMAIL_GROUP, INVENTORY_GROUP, ORDER_EVENTS, SMS_GROUP};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Headers, Message};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

pub(crate) const GROUPS: [&str; 4] = [EMAIL_GROUP, SMS_GROUP, INVENTORY_GROUP, ANALYTICS_GROUP];

const TIMEOUT: Duration = Duration::from_secs(5);

fn dead_letter_topic(group: &str) -> String {
    format!("{ORDER_EVENTS}.{group}.dlq")
}

/// A dead letter: its value and its headers as text.
#[derive(Debug)]
pub(crate) struct DeadLetter {
    pub(crate) value: Vec<u8>,
    pub(crate) headers: BTreeMap<String, String>,
}

fn consumer(brokers: &str, group: &str) -> BaseConsumer {
    ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", group)
        .set("enable.auto.commit", "false")
        .create()
        .expect("a consumer")
}

/// librdkafka's look-ups block.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.expect("the look-up does not panic")
}

fn partitions(consumer: &BaseConsumer, topic: &str) -> Vec<i32> {
    let metadata = consumer.fetch_metadata(Some(topic), TIMEOUT).expect("metadata");
    metadata.topics()[0].partitions().iter().map(|partition| partition.id()).collect()
}

/// How many records the topic holds.
fn records(consumer: &BaseConsumer, topic: &str) -> i64 {
    let held = |partition: i32| {
        let (low, high) = consumer.fetch_watermarks(topic, partition, TIMEOUT).expect("watermarks");
        high - low
    };
    partitions(consumer, topic).into_iter().map(held).sum()
}

/// Records of `order.events` that the group has not committed yet.
pub(crate) async fn lag(brokers: &str, group: &'static str) -> i64 {
    let consumer = consumer(brokers, group);
    blocking(move || {
        let mut list = TopicPartitionList::new();
        for partition in partitions(&consumer, ORDER_EVENTS) {
            list.add_partition(ORDER_EVENTS, partition);
        }
        let committed = consumer.committed_offsets(list, TIMEOUT).expect("committed offsets");
        let behind = committed.elements().into_iter().map(|element| {
            let (low, high) =
                consumer.fetch_watermarks(ORDER_EVENTS, element.partition(), TIMEOUT).expect("watermarks");
            match element.offset() {
                Offset::Offset(offset) => high - offset,
                // Nothing committed: the group starts from the earliest record.
                _ => high - low,
            }
        });
        behind.sum()
    })
    .await
}

/// How many dead letters each group has.
pub(crate) async fn dead_letter_counts(brokers: &str) -> BTreeMap<&'static str, i64> {
    let consumer = consumer(brokers, "system-test");
    blocking(move || GROUPS.map(|group| (group, records(&consumer, &dead_letter_topic(group)))).into()).await
}

/// All dead letters of a group.
pub(crate) async fn dead_letters(brokers: &str, group: &'static str) -> Vec<DeadLetter> {
    let consumer = consumer(brokers, "system-test");
    blocking(move || {
        let topic = dead_letter_topic(group);
        let expected = records(&consumer, &topic);
        let mut list = TopicPartitionList::new();
        for partition in partitions(&consumer, &topic) {
            list.add_partition_offset(&topic, partition, Offset::Beginning).expect("a partition");
        }
        consumer.assign(&list).expect("assigned");
        let mut letters = Vec::new();
        while (letters.len() as i64) < expected {
            let message =
                consumer.poll(TIMEOUT).expect("a dead letter within the time-out").expect("no error");
            let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
            let text = |value: Option<&[u8]>| String::from_utf8_lossy(value.unwrap_or_default()).into_owned();
            letters.push(DeadLetter {
                headers: headers.map(|header| (header.key.to_owned(), text(header.value))).collect(),
                value: message.payload().unwrap_or_default().to_vec(),
            });
        }
        letters
    })
    .await
}

/// Puts a record on `order.events` as a stranger would: no envelope, no headers.
pub(crate) async fn send_foreign_record(brokers: &str, key: &str, value: &[u8]) {
    let producer: FutureProducer =
        ClientConfig::new().set("bootstrap.servers", brokers).create().expect("a producer");
    let record = FutureRecord::to(ORDER_EVENTS).key(key).payload(value);
    producer.send(record, TIMEOUT).await.expect("Kafka took the record");
}
