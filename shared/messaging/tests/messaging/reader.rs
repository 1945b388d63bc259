//! Observing a topic.

use std::time::Duration;

use messaging::reader::{ReadError, TopicReader};
use messaging::{KafkaSettings, OutgoingRecord, Producer, partition_of};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use testkit::PATIENCE;

const PARTITIONS: usize = 3;
const TOPIC: &str = "observed";

fn cluster() -> (MockCluster<'static, DefaultProducerContext>, KafkaSettings) {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic(TOPIC, PARTITIONS as i32, 1).unwrap();
    let kafka = KafkaSettings { brokers: cluster.bootstrap_servers() };
    (cluster, kafka)
}

/// Keys 0, 1, .. 9 in turn; the value is the record's number.
async fn publish(kafka: &KafkaSettings, numbers: std::ops::Range<usize>) {
    let producer = Producer::new(kafka, "test", PATIENCE).unwrap();
    let records = numbers
        .map(|n| OutgoingRecord::new(TOPIC, (n % 10).to_string(), n.to_string().into_bytes()))
        .collect();
    producer.publish(records).await.into_iter().for_each(|outcome| outcome.unwrap());
}

#[tokio::test]
async fn a_reading_has_what_was_there_when_it_was_asked_for_and_keeps_the_order_of_each_partition() {
    let (_cluster, kafka) = cluster();
    publish(&kafka, 0..2500).await;
    let reader = TopicReader::connect(&kafka, TOPIC, PATIENCE).await.unwrap();
    let watermarks = reader.watermarks().await.unwrap();
    let (from, to): (Vec<i64>, Vec<i64>) = watermarks.into_iter().unzip();
    publish(&kafka, 2500..2600).await;

    for _ in 0..2 {
        let (mut batches, mut seen, mut next) = (reader.read(&from, &to), Vec::new(), from.clone());
        while let Some(batch) = batches.recv().await {
            for record in batch.unwrap() {
                assert_eq!(record.offset, next[record.partition]);
                next[record.partition] += 1;
                assert_eq!(
                    record.partition,
                    partition_of(&record.key, PARTITIONS),
                    "our producer's partition"
                );
                seen.push(String::from_utf8(record.payload).unwrap().parse::<usize>().unwrap());
            }
        }
        seen.sort_unstable();
        assert_eq!(seen, (0..2500).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_reading_of_large_records_hands_over_few_at_a_time() {
    let (_cluster, kafka) = cluster();
    let producer = Producer::new(&kafka, "test", PATIENCE).unwrap();
    let large = vec![OutgoingRecord::new(TOPIC, "key", vec![b'x'; 400_000]); 10];
    producer.publish(large).await.into_iter().for_each(|outcome| outcome.unwrap());
    let reader = TopicReader::connect(&kafka, TOPIC, PATIENCE).await.unwrap();
    let (from, to): (Vec<i64>, Vec<i64>) = reader.watermarks().await.unwrap().into_iter().unzip();
    let (mut batches, mut sizes) = (reader.read(&from, &to), Vec::new());
    while let Some(batch) = batches.recv().await {
        sizes.push(batch.unwrap().len());
    }
    assert_eq!(sizes, [3, 3, 3, 1], "a megabyte at most, and the record that is over it");
}

#[tokio::test]
async fn a_reading_of_nothing_ends_at_once() {
    let (_cluster, kafka) = cluster();
    let reader = TopicReader::connect(&kafka, TOPIC, PATIENCE).await.unwrap();
    assert_eq!(reader.partitions(), PARTITIONS);
    assert!(reader.read(&[0; PARTITIONS], &[0; PARTITIONS]).recv().await.is_none());
}

#[tokio::test]
async fn a_broker_that_does_not_answer_is_an_error_after_the_time_out() {
    let kafka = KafkaSettings { brokers: "127.0.0.1:1".to_owned() };
    let error =
        TopicReader::connect(&kafka, TOPIC, Duration::from_millis(200)).await.err().expect("an error");
    assert!(error.to_string().starts_with("Kafka: "), "{error}");
}

#[tokio::test]
async fn brokers_that_are_away_are_waited_for_and_their_silence_is_an_error_after_the_time_out() {
    let (cluster, kafka) = cluster();
    publish(&kafka, 0..10).await;
    let reader = TopicReader::connect(&kafka, TOPIC, Duration::from_secs(5)).await.unwrap();
    let (from, to): (Vec<i64>, Vec<i64>) = reader.watermarks().await.unwrap().into_iter().unzip();
    cluster.broker_down(1).unwrap();
    let error = reader.read(&from, &to).recv().await.unwrap().expect_err("nobody answers");
    assert!(matches!(error, ReadError::Silence { .. }), "{error}");
    cluster.broker_up(1).unwrap();
    let reader = TopicReader::connect(&kafka, TOPIC, PATIENCE).await.unwrap();
    assert_eq!(reader.read(&from, &to).recv().await.unwrap().unwrap().len(), 10);
}

#[tokio::test]
async fn a_group_that_has_committed_nothing_has_no_offsets() {
    let (_cluster, kafka) = cluster();
    let reader = TopicReader::connect(&kafka, TOPIC, PATIENCE).await.unwrap();
    assert_eq!(reader.committed("nobody").await.unwrap(), [None; PARTITIONS]);
}

#[tokio::test]
async fn a_group_that_moves_to_another_broker_is_asked_again() {
    let (cluster, kafka) = cluster();
    let reader = TopicReader::connect(&kafka, TOPIC, PATIENCE).await.unwrap();
    for moving in [
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_COORDINATOR,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS,
    ] {
        // More often than librdkafka asks by itself about the first two.
        cluster.request_errors(RDKafkaApiKey::OffsetFetch, &[moving; 5]);
        let committed = reader.committed("nobody").await;
        assert_eq!(committed.unwrap_or_else(|error| panic!("{moving:?}: {error}")), [None; PARTITIONS]);
        cluster.clear_request_errors(RDKafkaApiKey::OffsetFetch);
    }
}

#[tokio::test]
async fn a_partition_that_moves_to_another_broker_is_asked_again() {
    let (cluster, kafka) = cluster();
    publish(&kafka, 0..10).await;
    let reader = TopicReader::connect(&kafka, TOPIC, PATIENCE).await.unwrap();
    let watermarks = reader.watermarks().await.unwrap();
    for moving in [
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE,
    ] {
        // More often than librdkafka asks by itself.
        cluster.request_errors(RDKafkaApiKey::ListOffsets, &[moving; 20]);
        let asked = reader.watermarks().await;
        assert_eq!(asked.unwrap_or_else(|error| panic!("{moving:?}: {error}")), watermarks);
        cluster.clear_request_errors(RDKafkaApiKey::ListOffsets);
    }
}
