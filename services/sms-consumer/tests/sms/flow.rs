//! The whole service: events on Kafka, text messages at the provider, rows in the database.

use clap::Parser;
use contracts::{Envelope, OrderCreated};
use messaging::{KafkaSettings, OutgoingRecord, Producer, TopicSpec, ensure_topics};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use serde_json::json;
use sms_consumer::Config;
use sqlx::PgPool;
use testkit::{PATIENCE, Servers, TestDatabase, eventually};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::orders::order;
use crate::provider::Provider;

/// The service on a topic, a group and a database of its own.
struct Service {
    topic: &'static str,
    kafka: KafkaSettings,
    pool: PgPool,
    producer: Producer,
    health: String,
    shutdown: CancellationToken,
    running: JoinHandle<anyhow::Result<()>>,
    dead_letters: String,
    _database: TestDatabase,
}

impl Service {
    async fn start(provider: &Provider) -> Self {
        Self::start_with(provider, &[]).await
    }

    async fn start_with(provider: &Provider, more: &[&str]) -> Self {
        let servers = Servers::shared().await;
        let database = servers.database("sms").await;
        let topic: &'static str = servers.topic("order.events", 3).await.leak();
        let group: &'static str = format!("sms-service-{}", Uuid::new_v4().simple()).leak();

        let usual = ["sms-consumer", "--retry-base", "50ms", "--retry-cap", "200ms"];
        let mut config = Config::parse_from([&usual, more].concat());
        config.consumer.kafka.brokers = servers.kafka_brokers().to_owned();
        config.database_url = database.url().to_owned();
        config.gateway_url = provider.gateway_url();
        (config.topic, config.group) = (topic, group);
        let kafka = config.consumer.kafka.clone();

        let dead_letters = format!("{topic}.{group}.dlq");
        let beside = [dead_letters.clone(), format!("{topic}.{group}.retry")];
        let beside = beside.map(|name| TopicSpec { name, partitions: 1, retention_ms: 3_600_000 });
        ensure_topics(&kafka, &beside, PATIENCE).await.unwrap();

        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let health = format!("http://{}/health", listener.local_addr().unwrap());
        let shutdown = CancellationToken::new();
        let running = tokio::spawn(sms_consumer::run(config, listener, shutdown.clone()));
        let producer = Producer::new(&kafka, "test", PATIENCE).unwrap();
        let pool = database.pool().await;
        Self { topic, kafka, pool, producer, health, shutdown, running, dead_letters, _database: database }
    }

    async fn publish(&self, event: &Envelope<OrderCreated>) {
        self.publish_raw(&event.aggregate_id.to_string(), serde_json::to_vec(event).unwrap()).await;
    }

    async fn publish_raw(&self, key: &str, payload: Vec<u8>) {
        self.producer.publish_one(OutgoingRecord::new(self.topic, key, payload)).await.unwrap();
    }

    /// How many deliveries are noted; an error while the service has not migrated yet.
    async fn noted(&self) -> Result<i64, sqlx::Error> {
        sqlx::query_scalar("SELECT count(*) FROM deliveries").fetch_one(&self.pool).await
    }

    async fn until_noted(&self, expected: i64) {
        eventually("the confirmations are noted", async || match self.noted().await {
            Ok(noted) if noted == expected => Ok(()),
            other => Err(format!("{other:?}, expected {expected}")),
        })
        .await;
    }

    async fn dead_letters(&self) -> i64 {
        let (brokers, topic) = (self.kafka.brokers.clone(), self.dead_letters.clone());
        let watermarks = tokio::task::spawn_blocking(move || {
            let consumer: BaseConsumer = ClientConfig::new().set("bootstrap.servers", brokers).create()?;
            consumer.fetch_watermarks(&topic, 0, PATIENCE)
        });
        let (low, high) = watermarks.await.unwrap().unwrap();
        high - low
    }

    async fn stop(self) {
        self.shutdown.cancel();
        self.running.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn an_event_becomes_one_message_and_one_row_and_its_repeat_becomes_nothing() {
    let provider = Provider::calm().await;
    let service = Service::start(&provider).await;
    let (first, second) = (order(), order());
    service.publish(&first).await;
    service.publish(&first).await;
    service.until_noted(1).await;
    // Same key, same partition: when the third record has its effect, the repeat before it is done with.
    let mut after = second.clone();
    (after.aggregate_id, after.data.order_id) = (first.aggregate_id, first.data.order_id);
    service.publish(&after).await;
    service.until_noted(2).await;
    assert_eq!(provider.deliveries(first.data.order_id).await, (2, 0));
    assert_eq!(service.dead_letters().await, 0);
    service.stop().await;
}

#[tokio::test]
async fn two_hundred_messages_at_a_time_are_on_their_way_to_a_slow_provider() {
    let provider = Provider::calm().await;
    provider.set(json!({"latency_ms": 60_000})).await;
    let service = Service::start_with(&provider, &["--gateway-timeout", "120s"]).await;
    let events: Vec<_> = (0..300).map(|_| order()).collect();
    futures::future::join_all(events.iter().map(|event| service.publish(event))).await;
    eventually("the provider works on many at a time", async || match provider.in_progress().await {
        many if many >= 200 => Ok(()),
        few => Err(format!("{few}")),
    })
    .await;
    // They are given up at the drain's deadline, and would come again.
    service.stop().await;
}

#[tokio::test]
async fn a_provider_that_refuses_everything_for_a_while_costs_no_order_its_confirmation() {
    let provider = Provider::calm().await;
    provider.set(json!({"failure_rate": 1})).await;
    let service = Service::start(&provider).await;
    let orders: Vec<_> = (0..10).map(|_| order()).collect();
    for order in &orders {
        service.publish(order).await;
    }
    // Far more refusals than the attempts that one message has.
    eventually("many refusals", async || match provider.refused().await {
        refused if refused >= 30 => Ok(()),
        refused => Err(format!("{refused} refusals")),
    })
    .await;
    assert_eq!(service.noted().await.unwrap(), 0);

    provider.set(json!({"failure_rate": 0})).await;
    service.until_noted(10).await;
    for order in &orders {
        assert_eq!(provider.deliveries(order.data.order_id).await, (1, 0));
    }
    assert_eq!(service.dead_letters().await, 0);
    service.stop().await;
}

#[tokio::test]
async fn a_record_that_is_no_event_goes_to_dead_letters_and_the_next_order_is_confirmed() {
    let provider = Provider::calm().await;
    let service = Service::start(&provider).await;
    let order = order();
    service.publish_raw(&order.aggregate_id.to_string(), b"{ this is no JSON".to_vec()).await;
    service.publish(&order).await;
    service.until_noted(1).await;
    assert_eq!(service.dead_letters().await, 1);
    service.stop().await;
}

#[tokio::test]
async fn a_consumer_whose_provider_is_away_stays_ready_and_says_that_it_is_degraded() {
    let provider = Provider::calm().await;
    let service = Service::start(&provider).await;
    service.publish(&order()).await;
    service.until_noted(1).await;
    drop(provider);
    service.publish(&order()).await;
    eventually("health shows the provider", async || {
        let response = reqwest::get(&service.health).await.map_err(|error| error.to_string())?;
        let status = response.status();
        let health: serde_json::Value = response.json().await.map_err(|error| error.to_string())?;
        if status.is_success() && health["status"] == "degraded" {
            Ok(())
        } else {
            Err(format!("{status}: {health}"))
        }
    })
    .await;
    let ready = reqwest::get(format!("{}/ready", service.health)).await.unwrap();
    assert!(ready.status().is_success(), "{}", ready.text().await.unwrap());
    service.stop().await;
}
