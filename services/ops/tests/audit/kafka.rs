//! Topics of one test: filled, committed, cut.

use contracts::topics::{ANALYTICS_GROUP, EMAIL_GROUP, INVENTORY_GROUP, SMS_GROUP};
use messaging::dead_letters::{self, retry_topic};
use messaging::{KafkaSettings, OutgoingRecord, Producer, TopicSpec, ensure_topics};
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use testkit::PATIENCE;

pub(crate) const GROUPS: [&str; 4] = [EMAIL_GROUP, SMS_GROUP, INVENTORY_GROUP, ANALYTICS_GROUP];
const PARTITIONS: i32 = 3;

/// The event topic of this name, and the dead-letter and retry topics of each group.
pub(crate) async fn create(kafka: &KafkaSettings, topic: &str) {
    let letters =
        GROUPS.iter().flat_map(|group| [dead_letters::topic(topic, group), retry_topic(topic, group)]);
    let names = std::iter::once(topic.to_owned()).chain(letters);
    let specs: Vec<TopicSpec> =
        names.map(|name| TopicSpec { name, partitions: PARTITIONS, retention_ms: 3_600_000 }).collect();
    ensure_topics(kafka, &specs, PATIENCE).await.unwrap();
}

/// In the order given.
pub(crate) async fn publish(kafka: &KafkaSettings, records: Vec<OutgoingRecord>) {
    let producer = Producer::new(kafka, "audit-test", PATIENCE).unwrap();
    for outcome in producer.publish(records).await {
        outcome.unwrap();
    }
}

/// What a group commits that has read everything.
pub(crate) async fn commit_the_end(kafka: &KafkaSettings, topic: &str, group: &'static str) {
    let (member, topic) = (consumer(kafka, group), topic.to_owned());
    tokio::task::spawn_blocking(move || {
        member.commit(&ends(&member, &topic), CommitMode::Sync).unwrap();
    })
    .await
    .unwrap();
}

/// What retention does.
pub(crate) async fn remove_all_records(kafka: &KafkaSettings, topic: &str) {
    let (reader, name) = (consumer(kafka, "audit-test"), topic.to_owned());
    let ends = tokio::task::spawn_blocking(move || ends(&reader, &name)).await.unwrap();
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", &kafka.brokers).create().unwrap();
    let options = AdminOptions::new().operation_timeout(Some(PATIENCE));
    admin.delete_records(&ends, &options).await.unwrap();
}

fn ends(consumer: &BaseConsumer, topic: &str) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        let (_, high) = consumer.fetch_watermarks(topic, partition, PATIENCE).unwrap();
        list.add_partition_offset(topic, partition, Offset::Offset(high)).unwrap();
    }
    list
}

fn consumer(kafka: &KafkaSettings, group: &str) -> BaseConsumer {
    ClientConfig::new().set("bootstrap.servers", &kafka.brokers).set("group.id", group).create().unwrap()
}
