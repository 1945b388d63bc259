//! A group that reads its topic once more, because its offsets were lost.

use std::collections::BTreeSet;
use std::time::Duration;

use contracts::{Envelope, OrderCreated};
use inventory_consumer::Config;
use messaging::dead_letters::{self, Letter};
use messaging::reader::TopicReader;
use messaging::{KafkaSettings, OutgoingRecord, Producer, TopicSpec, ensure_topics};
use persistence::inbox;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use sqlx::PgPool;
use testkit::{PATIENCE, Servers, TestDatabase, eventually};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{assert_balanced, books, order};

const HOUR: Duration = Duration::from_secs(3600);

struct Group {
    kafka: KafkaSettings,
    topic: &'static str,
    name: &'static str,
    database: TestDatabase,
}

impl Group {
    async fn new() -> Self {
        let servers = Servers::shared().await;
        let kafka = KafkaSettings { brokers: servers.kafka_brokers().to_owned() };
        let topic: &'static str = servers.topic("order.events", 3).await.leak();
        let name: &'static str = format!("inventory-{}", Uuid::new_v4().simple()).leak();
        let beside = [dead_letters::topic(topic, name), dead_letters::retry_topic(topic, name)];
        let beside = beside.map(|name| TopicSpec { name, partitions: 1, retention_ms: 3_600_000 });
        ensure_topics(&kafka, &beside, PATIENCE).await.unwrap();
        let database = servers.database("inventory").await.migrated().await;
        Self { kafka, topic, name, database }
    }

    async fn publish(&self, orders: &[Envelope<OrderCreated>]) {
        let producer = Producer::new(&self.kafka, "test", PATIENCE).unwrap();
        for order in orders {
            let (key, payload) = (order.aggregate_id.to_string(), serde_json::to_vec(order).unwrap());
            producer.publish_one(OutgoingRecord::new(self.topic, key, payload)).await.unwrap();
        }
    }

    /// Runs the real service until it has committed the end of the topic.
    async fn read_to_the_end(&self) {
        let mut config = <Config as clap::Parser>::parse_from([
            "inventory-consumer",
            "--kafka-brokers",
            &self.kafka.brokers,
        ]);
        config.database_url = self.database.url().to_owned();
        (config.topic, config.group) = (self.topic, self.name);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let shutdown = CancellationToken::new();
        let service = tokio::spawn(inventory_consumer::run(config, listener, shutdown.clone()));
        let reader = TopicReader::connect(&self.kafka, self.topic, PATIENCE).await.unwrap();
        eventually("the group has read the topic", async || {
            // Refused while the group finds its coordinator.
            let committed = reader.committed(self.name).await.map_err(|error| error.to_string())?;
            let ends = reader.watermarks().await.unwrap().into_iter().map(|(_, end)| end);
            let open: Vec<_> = ends.zip(committed).filter(|(end, at)| *end > at.unwrap_or(0)).collect();
            if open.is_empty() { Ok(()) } else { Err(format!("{open:?}")) }
        })
        .await;
        shutdown.cancel();
        service.await.unwrap().unwrap();
    }

    /// The group forgets where it is, and so begins with the earliest record.
    async fn lose_offsets(&self) {
        let admin: AdminClient<DefaultClientContext> =
            ClientConfig::new().set("bootstrap.servers", &self.kafka.brokers).create().unwrap();
        let deleted = admin.delete_groups(&[self.name], &AdminOptions::new()).await.unwrap();
        assert!(deleted.iter().all(Result::is_ok), "{deleted:?}");
    }

    async fn letters(&self) -> Vec<Letter> {
        let topic = dead_letters::topic(self.topic, self.name);
        let reader = TopicReader::connect(&self.kafka, &topic, PATIENCE).await.unwrap();
        let ends: Vec<i64> = reader.watermarks().await.unwrap().into_iter().map(|(_, end)| end).collect();
        let mut records = reader.read(&[0], &ends);
        let mut letters = Vec::new();
        while let Some(batch) = records.recv().await {
            letters.extend(batch.unwrap().iter().map(|record| Letter::read(record).unwrap()));
        }
        letters
    }
}

/// Forgets what is older than an hour.
async fn prune(pool: &PgPool) -> u64 {
    let raised = inbox::raise_horizon(pool, HOUR, Duration::ZERO).await.unwrap().unwrap();
    let horizon = eventually("everybody knows the horizon", async || {
        raised.known(pool).await.unwrap().ok_or("somebody does not")
    })
    .await;
    inbox::prune_step(pool, horizon, 0, inbox::PAGES_PER_STEP).await.unwrap().removed
}

#[tokio::test]
async fn a_group_that_lost_its_offsets_doubles_nothing_and_neither_does_one_that_forgot_events_meanwhile() {
    let group = Group::new().await;
    let pool = group.database.pool().await;
    let mut orders: Vec<_> = (0..30).map(|n| order(&[(n % 5 + 1, 2)])).collect();
    for order in &mut orders[..10] {
        order.occurred_at -= chrono::TimeDelta::hours(2);
    }
    group.publish(&orders).await;
    group.read_to_the_end().await;
    let before = books(&pool).await;
    assert_eq!(before.0.len(), orders.len());

    group.lose_offsets().await;
    group.read_to_the_end().await;
    assert_eq!(books(&pool).await, before);
    assert!(group.letters().await.is_empty());

    assert_eq!(prune(&pool).await, 10);
    group.lose_offsets().await;
    group.read_to_the_end().await;
    assert_eq!(books(&pool).await, before);
    let letters = group.letters().await;
    // At least once, as all that is published.
    let place = |letter: &Letter| (letter.source_partition, letter.source_offset);
    let given_up: BTreeSet<_> = letters.iter().map(place).collect();
    assert_eq!(given_up.len(), 10, "nobody knows of the forgotten ones whether they were applied");
    assert!(letters.iter().all(|letter| letter.reason.starts_with("beyond-horizon: ")), "{letters:?}");
    assert_balanced(&pool).await;
}

#[tokio::test]
async fn an_order_beyond_the_horizon_fails_its_batch_and_an_allowed_one_is_applied_once() {
    use inventory_consumer::Inventory;
    use messaging::consumer::{Answer, BatchHandler, Delivered, Delivery};

    let database = Servers::shared().await.database("inventory").await.migrated().await;
    let pool = database.pool().await;
    prune(&pool).await;
    let (mut old, new) = (order(&[(1, 1)]), order(&[(1, 1)]));
    old.occurred_at -= chrono::TimeDelta::hours(2);
    let before = books(&pool).await;
    let inventory = Inventory::new(pool.clone());
    let delivered = |event: &Envelope<OrderCreated>, beyond_horizon| Delivered {
        event: event.clone(),
        delivery: Delivery { beyond_horizon, ..Delivery::default() },
    };
    let batch = [delivered(&new, false), delivered(&old, false)];
    let answer = inventory.handle_batch(&batch).await;
    assert!(
        matches!(&answer, Answer::Poison(reason) if reason.starts_with("beyond-horizon: ")),
        "{answer:?}"
    );
    assert_eq!(books(&pool).await, before, "nothing of the batch is there");

    for _ in 0..2 {
        assert_eq!(inventory.handle_batch(&[delivered(&old, true)]).await, Answer::Ok);
    }
    assert_eq!(books(&pool).await.0.len(), 1);
    assert_balanced(&pool).await;
}
