//! Topics for tests, and whether the broker serves.

use std::time::Duration;

use anyhow::{Context, Result};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;

use crate::PATIENCE;

fn config(brokers: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers);
    // Failing to connect is what polling for a starting broker looks like; no reason to write about it.
    config.set("log_level", "2");
    config
}

/// Answers once the broker gives metadata.
pub(crate) async fn metadata(brokers: &str) -> Result<()> {
    leaders(brokers, None).await.map(drop)
}

/// Creates the topic and waits until each partition has a leader: a consumer that starts then finds all of them.
pub(crate) async fn create_topic(brokers: &str, name: &str, partitions: i32) -> Result<()> {
    let admin: AdminClient<DefaultClientContext> = config(brokers).create()?;
    let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
    let options = AdminOptions::new().operation_timeout(Some(PATIENCE)).request_timeout(Some(PATIENCE));
    // A broker that its controller has lost sight of takes no topics; one that was created meanwhile is what we want.
    crate::eventually(&format!("the topic {name}"), async || {
        let answers = admin.create_topics([&topic], &options).await.map_err(|error| error.to_string())?;
        match answers.first() {
            Some(Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => Ok(()),
            Some(Err((_, code))) => Err(code.to_string()),
            None => Err("no answer".to_owned()),
        }
    })
    .await;
    crate::eventually(&format!("leaders for the topic {name}"), async || {
        match leaders(brokers, Some(name)).await.map_err(|error| format!("{error:#}"))? {
            with_leader if with_leader == partitions => Ok(()),
            with_leader => Err(format!("{with_leader} of {partitions} partitions have a leader")),
        }
    })
    .await;
    Ok(())
}

/// The next record that this consumer gets; panics when none comes. That a connection was lost is no error here: librdkafka opens it again.
pub fn next_record(consumer: &BaseConsumer) -> BorrowedMessage<'_> {
    use RDKafkaErrorCode::{AllBrokersDown, BrokerTransportFailure};
    loop {
        match consumer.poll(PATIENCE) {
            Some(Ok(record)) => return record,
            Some(Err(KafkaError::MessageConsumption(AllBrokersDown | BrokerTransportFailure))) => {}
            Some(Err(error)) => panic!("no record: {error}"),
            None => panic!("no record within {PATIENCE:?}"),
        }
    }
}

async fn leaders(brokers: &str, topic: Option<&str>) -> Result<i32> {
    let consumer: BaseConsumer = config(brokers).create()?;
    let (brokers, topic) = (brokers.to_owned(), topic.map(str::to_owned));
    let blocking = tokio::task::spawn_blocking(move || {
        let metadata = consumer
            .fetch_metadata(topic.as_deref(), Duration::from_secs(5))
            .with_context(|| format!("Kafka at {brokers} gives no metadata"))?;
        let partitions = metadata.topics().iter().flat_map(|topic| topic.partitions());
        anyhow::Ok(partitions.filter(|partition| partition.leader() >= 0).count() as i32)
    });
    blocking.await?
}
