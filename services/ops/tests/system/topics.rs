//! Kafka as the tests look at it: how far the groups are, and what is in the dead letters.

use std::collections::{BTreeMap, HashSet};

use contracts::decode_order_created;
use contracts::topics::{ANALYTICS_GROUP, EMAIL_GROUP, INVENTORY_GROUP, ORDER_EVENTS, SMS_GROUP};
use messaging::KafkaSettings;
use messaging::dead_letters::retry_topic;
use messaging::reader::TopicReader;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Headers, Message, OwnedMessage};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use testkit::{PATIENCE, next_record};
use uuid::Uuid;

pub(crate) const GROUPS: [&str; 4] = [EMAIL_GROUP, SMS_GROUP, INVENTORY_GROUP, ANALYTICS_GROUP];

fn dead_letter_topic(group: &str) -> String {
    format!("{ORDER_EVENTS}.{group}.dlq")
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
    let metadata = consumer.fetch_metadata(Some(topic), PATIENCE).expect("metadata");
    metadata.topics()[0].partitions().iter().map(|partition| partition.id()).collect()
}

/// How many records the topic holds.
fn records(consumer: &BaseConsumer, topic: &str) -> i64 {
    let held = |partition: i32| {
        let (low, high) = consumer.fetch_watermarks(topic, partition, PATIENCE).expect("watermarks");
        high - low
    };
    partitions(consumer, topic).into_iter().map(held).sum()
}

/// How many dead letters of order events each group has. Records of strangers are left out: they get one each time they are read.
pub(crate) async fn dead_letter_counts(brokers: &str) -> BTreeMap<&'static str, usize> {
    let mut counts = BTreeMap::new();
    for group in GROUPS {
        let letters = dead_letters(brokers, group).await;
        let is_event =
            |letter: &&OwnedMessage| decode_order_created(letter.payload().unwrap_or_default()).is_ok();
        counts.insert(group, letters.iter().filter(is_event).count());
    }
    counts
}

/// What a group has committed on the order events and on its retry topic.
pub(crate) async fn committed(brokers: &str, group: &'static str) -> Vec<Option<i64>> {
    let kafka = KafkaSettings { brokers: brokers.to_owned() };
    let mut committed = Vec::new();
    for topic in [ORDER_EVENTS.to_owned(), retry_topic(ORDER_EVENTS, group)] {
        let reader = TopicReader::connect(&kafka, &topic, PATIENCE).await.expect("the topic");
        committed.extend(reader.committed(group).await.expect("its offsets"));
    }
    committed
}

/// How many letters were given back to each group.
pub(crate) async fn replay_counts(brokers: &str) -> BTreeMap<&'static str, i64> {
    let consumer = consumer(brokers, "system-test");
    blocking(move || {
        GROUPS.map(|group| (group, records(&consumer, &retry_topic(ORDER_EVENTS, group)))).into()
    })
    .await
}

/// All dead letters of a group.
pub(crate) async fn dead_letters(brokers: &str, group: &'static str) -> Vec<OwnedMessage> {
    all_records(brokers, dead_letter_topic(group)).await
}

/// The records on `order.events` of these orders.
pub(crate) async fn records_of(brokers: &str, orders: &[Uuid]) -> Vec<OwnedMessage> {
    let keys: HashSet<String> = orders.iter().map(Uuid::to_string).collect();
    let mut records = all_records(brokers, ORDER_EVENTS.to_owned()).await;
    records.retain(|record| keys.contains(&*String::from_utf8_lossy(record.key().unwrap_or_default())));
    records
}

async fn all_records(brokers: &str, topic: String) -> Vec<OwnedMessage> {
    let consumer = consumer(brokers, "system-test");
    blocking(move || {
        let expected = records(&consumer, &topic);
        let mut list = TopicPartitionList::new();
        for partition in partitions(&consumer, &topic) {
            list.add_partition_offset(&topic, partition, Offset::Beginning).expect("a partition");
        }
        consumer.assign(&list).expect("assigned");
        let mut found = Vec::new();
        while (found.len() as i64) < expected {
            found.push(next_record(&consumer).detach());
        }
        found
    })
    .await
}

/// The groups lose what they have committed. They must have no members.
pub(crate) async fn delete_groups(brokers: &str, groups: &[&str]) {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", brokers).create().expect("an admin client");
    let options = AdminOptions::new().request_timeout(Some(PATIENCE));
    for outcome in admin.delete_groups(groups, &options).await.expect("Kafka answers") {
        outcome.unwrap_or_else(|(group, code)| panic!("group {group} was not deleted: {code}"));
    }
}

/// The value of a header, as text.
pub(crate) fn header(record: &OwnedMessage, name: &str) -> Option<String> {
    let mut headers = record.headers()?.iter();
    let value = headers.find(|header| header.key == name)?.value?;
    Some(String::from_utf8_lossy(value).into_owned())
}

fn producer(brokers: &str) -> FutureProducer {
    ClientConfig::new().set("bootstrap.servers", brokers).create().expect("a producer")
}

/// Puts a record on `order.events` as a stranger would: no envelope, no headers.
pub(crate) async fn send_foreign_record(brokers: &str, key: &str, value: &[u8]) {
    let record = FutureRecord::to(ORDER_EVENTS).key(key).payload(value);
    producer(brokers).send(record, PATIENCE).await.expect("Kafka took the record");
}

/// Puts these records on `order.events` once more, as they are.
pub(crate) async fn send_again(brokers: &str, records: &[OwnedMessage]) {
    for record in records {
        send_with(brokers, record, record.payload().unwrap_or_default()).await;
    }
}

/// Puts a record on `order.events` once more with another payload under the same headers.
pub(crate) async fn send_with(brokers: &str, record: &OwnedMessage, payload: &[u8]) {
    let again = FutureRecord::to(ORDER_EVENTS)
        .key(record.key().unwrap_or_default())
        .payload(payload)
        .headers(record.headers().cloned().unwrap_or_default());
    producer(brokers).send(again, PATIENCE).await.expect("Kafka took the record");
}
