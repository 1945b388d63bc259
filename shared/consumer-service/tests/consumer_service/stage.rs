//! A group with topics and a database of its own, and processes of it.

use std::fmt::Debug;

use clap::Parser;
use consumer_service::{ConsumerArgs, ConsumerService, Group};
use messaging::consumer::{Answer, Delivery, Handler};
use messaging::{KafkaSettings, OutgoingRecord, Producer, TopicSpec, dead_letters, ensure_topics, groups};
use sqlx::PgPool;
use sqlx::migrate::Migrator;
use testkit::{PATIENCE, Servers, TestDatabase, eventually};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub(crate) static MIGRATIONS: Migrator = sqlx::migrate!("../../migrations/email");

#[derive(Parser)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) consumer: ConsumerArgs,
}

/// Notes what it was given; what is called "bad" it cannot take.
struct Noting(PgPool);

impl Handler for Noting {
    type Event = String;

    async fn handle(&self, name: &String, _: &Delivery) -> Answer {
        if name == "bad" {
            return Answer::Poison("it is bad".to_owned());
        }
        let noted = sqlx::query("INSERT INTO noted VALUES ($1)").bind(name).execute(&self.0).await;
        noted.map_or_else(|error| Answer::Unavailable(error.to_string()), |_| Answer::Ok)
    }
}

pub(crate) fn decode(payload: &[u8]) -> Result<Option<String>, std::str::Utf8Error> {
    std::str::from_utf8(payload).map(|text| Some(text.to_owned()))
}

pub(crate) struct Stage {
    kafka: KafkaSettings,
    topic: &'static str,
    group: &'static str,
    database: TestDatabase,
    producer: Producer,
    pub(crate) pool: PgPool,
}

impl Stage {
    pub(crate) async fn new() -> Self {
        let servers = Servers::shared().await;
        let kafka = KafkaSettings { brokers: servers.kafka_brokers().to_owned() };
        let topic: &'static str = servers.topic("names", 2).await.leak();
        let group: &'static str = format!("noting-{}", Uuid::new_v4().simple()).leak();
        let beside = [dead_letters::topic(topic, group), dead_letters::retry_topic(topic, group)];
        let beside = beside.map(|name| TopicSpec { name, partitions: 1, retention_ms: 3_600_000 });
        ensure_topics(&kafka, &beside, PATIENCE).await.unwrap();

        let database = servers.database("email").await;
        let pool = database.pool().await;
        sqlx::query("CREATE TABLE noted (name text NOT NULL)").execute(&pool).await.unwrap();
        let producer = Producer::new(&kafka, "test", PATIENCE).unwrap();
        Self { kafka, topic, group, database, producer, pool }
    }

    /// Starts a process of the group.
    pub(crate) async fn start(&self, args: &[&str]) -> Process {
        let common = ["test", "--kafka-brokers", &self.kafka.brokers];
        let args = Args::parse_from(common.iter().chain(args));
        let group = Group { service: "noting", name: self.group, topic: self.topic, migrations: &MIGRATIONS };
        let service = ConsumerService::new(group, args.consumer, self.database.url(), 2).unwrap();
        let handler = Noting(service.pool());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shutdown = CancellationToken::new();
        let running = tokio::spawn(service.run(decode, handler, listener, shutdown.clone()));
        Process { url, shutdown, running }
    }

    pub(crate) async fn publish(&self, key: &str, name: &str) {
        self.producer.publish_one(OutgoingRecord::new(self.topic, key, name)).await.unwrap();
    }

    pub(crate) async fn count(&self, table: &str) -> i64 {
        let count = sqlx::AssertSqlSafe(format!("SELECT count(*) FROM {table}"));
        sqlx::query_scalar(count).fetch_one(&self.pool).await.unwrap_or(-1)
    }

    pub(crate) async fn until_count(&self, table: &str, expected: i64) {
        until(&format!("{expected} rows in {table}"), expected, async || self.count(table).await).await;
    }

    pub(crate) async fn until_members(&self, expected: usize) {
        until("the members of the group", expected, async || {
            groups::members(&self.kafka, self.group, PATIENCE).await.unwrap()
        })
        .await;
    }
}

async fn until<T: PartialEq + Debug>(what: &str, expected: T, mut look: impl AsyncFnMut() -> T) {
    eventually(what, async || {
        let found = look().await;
        if found == expected { Ok(()) } else { Err(format!("{found:?}, expected {expected:?}")) }
    })
    .await;
}

/// A process of the group.
pub(crate) struct Process {
    url: String,
    shutdown: CancellationToken,
    running: JoinHandle<anyhow::Result<()>>,
}

impl Process {
    /// Waits until `/health` shows `text`.
    pub(crate) async fn until_health_shows(&self, text: &str) {
        eventually("health", async || match self.get("/health").await {
            Ok(health) if health.contains(text) => Ok(()),
            Ok(other) => Err(other),
            Err(error) => Err(error.to_string()),
        })
        .await;
    }

    pub(crate) async fn get(&self, path: &str) -> reqwest::Result<String> {
        reqwest::get(format!("{}{path}", self.url)).await?.text().await
    }

    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        self.running.await.unwrap().unwrap();
    }

    /// Waits until it ends by itself, and says why.
    pub(crate) async fn failure(self) -> String {
        let ended = tokio::time::timeout(PATIENCE, self.running).await.unwrap();
        format!("{:#}", ended.unwrap().unwrap_err())
    }
}
