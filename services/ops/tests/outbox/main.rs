//! `ops outbox` beside a running relay: events that Kafka refuses, and what an operator does about them.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::Write;
use std::process::Command;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use sqlx::PgPool;
use testkit::{Process, Servers, TestDatabase, eventually};
use uuid::Uuid;

/// Bytes that the topic takes in one batch of records.
const LIMIT: usize = 4000;

/// A relay, and a topic that takes small records only.
struct Fixture {
    database: TestDatabase,
    pool: PgPool,
    topic: String,
    admin: AdminClient<DefaultClientContext>,
    _relay: Process,
}

impl Fixture {
    async fn new() -> Self {
        let servers = Servers::shared().await;
        let database = servers.database("orders").await.migrated().await;
        let admin: AdminClient<_> =
            ClientConfig::new().set("bootstrap.servers", servers.kafka_brokers()).create().unwrap();
        let topic = format!("ops-outbox-{}", Uuid::new_v4());
        let limit = LIMIT.to_string();
        let new = NewTopic::new(&topic, 1, TopicReplication::Fixed(1)).set("max.message.bytes", &limit);
        let created = admin.create_topics([&new], &AdminOptions::new()).await.unwrap();
        assert!(created.iter().all(Result::is_ok), "{created:?}");
        let settings = [("ORDERS_DATABASE_URL", database.url()), ("KAFKA_BROKERS", servers.kafka_brokers())];
        let relay = Process::spawn("outbox-relay", &settings).await;
        Self { pool: database.pool().await, database, topic, admin, _relay: relay }
    }

    /// Three events of a new key, the first of them too large for the topic. Returns the key once it is blocked.
    async fn blocked_key(&self) -> Uuid {
        let key = Uuid::new_v4();
        let mut transaction = self.pool.begin().await.unwrap();
        for sequence in 1..=3 {
            // Random text: what is compressed well would pass.
            let filler: String = (0..200).map(|_| Uuid::new_v4().to_string()).collect();
            let (event, filler) = (Uuid::new_v4(), if sequence == 1 { filler } else { String::new() });
            sqlx::query(
                "INSERT INTO outbox (topic, aggregate_id, sequence, event_id, event_type, source, payload)
                 VALUES ($1, $2, $3, $4, 'ThingHappened', '/tests', $5::json)",
            )
            .bind(&self.topic)
            .bind(key)
            .bind(sequence)
            .bind(event)
            .bind(format!(r#"{{"id":"{event}","filler":"{filler}"}}"#))
            .execute(&mut *transaction)
            .await
            .unwrap();
        }
        transaction.commit().await.unwrap();
        let key_text = key.to_string();
        eventually("the key is blocked", async || {
            let list = self.ops(&["blocked"]).await.unwrap();
            if list.contains(&key_text) { Ok(()) } else { Err(list) }
        })
        .await;
        key
    }

    /// What `ops outbox ..` printed, or what it complained about.
    async fn ops(&self, arguments: &[&str]) -> Result<String, String> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ops"));
        command
            .arg("outbox")
            .args(arguments)
            .env("ORDERS_DATABASE_URL", self.database.url())
            .env("USER", "ada");
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
    }

    async fn until_empty(&self) {
        eventually("all events are published", async || {
            match sqlx::query_scalar("SELECT count(*) FROM outbox").fetch_one(&self.pool).await.unwrap() {
                0i64 => Ok(()),
                waiting => Err(format!("{waiting} wait")),
            }
        })
        .await;
    }

    async fn waiting(&self, key: Uuid) -> i64 {
        let count = "SELECT count(*) FROM outbox WHERE aggregate_id = $1";
        sqlx::query_scalar(count).bind(key).fetch_one(&self.pool).await.unwrap()
    }
}

#[tokio::test]
async fn a_refused_event_holds_its_key_back_and_is_listed_and_shown() {
    let fixture = Fixture::new().await;
    let key = fixture.blocked_key().await.to_string();
    let list = fixture.ops(&["blocked"]).await.unwrap();
    let line = list.lines().find(|line| line.starts_with(&key)).unwrap();
    assert!(line.contains("MessageSizeTooLarge") && line.contains("  3  "), "{line}");
    let shown = fixture.ops(&["show", &key]).await.unwrap();
    assert!(
        shown.contains("number 1") && shown.contains("filler") && shown.contains(&fixture.topic),
        "{shown}"
    );

    let unknown = fixture.ops(&["show", &Uuid::nil().to_string()]).await.unwrap_err();
    assert!(unknown.contains("this key is not blocked"), "{unknown}");
}

#[tokio::test]
async fn skip_leaves_the_event_out_accounts_for_it_and_lets_the_key_go_on() {
    let fixture = Fixture::new().await;
    let key = fixture.blocked_key().await;
    fixture.ops(&["skip", &key.to_string(), "--why", "sent by hand"]).await.unwrap();
    fixture.until_empty().await;
    let noted: (i64, String, String) = sqlx::query_as(
        "SELECT sequence, skipped_by, skipped_why FROM outbox_skipped WHERE aggregate_id = $1",
    )
    .bind(key)
    .fetch_one(&fixture.pool)
    .await
    .unwrap();
    assert_eq!(noted, (1, "ada".into(), "sent by hand".into()));
    assert_eq!(fixture.ops(&["blocked"]).await.unwrap(), "no key is blocked\n");
    let again = fixture.ops(&["skip", &key.to_string(), "--why", "twice"]).await.unwrap_err();
    assert!(again.contains("this key is not blocked"), "{again}");
}

#[tokio::test]
async fn repair_takes_only_json_of_the_same_event_and_publishes_it() {
    let fixture = Fixture::new().await;
    let key = fixture.blocked_key().await;
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(br#"{"id":"another"}"#).unwrap();
    let path = file.path().to_str().unwrap().to_owned();
    let wrong = fixture.ops(&["repair", &key.to_string(), "--payload", &path]).await.unwrap_err();
    assert!(wrong.contains("but the refused event is"), "{wrong}");
    assert_eq!(fixture.waiting(key).await, 3);

    let event: Uuid =
        sqlx::query_scalar("SELECT event_id FROM outbox WHERE aggregate_id = $1 AND sequence = 1")
            .bind(key)
            .fetch_one(&fixture.pool)
            .await
            .unwrap();
    std::fs::write(&path, format!(r#"{{"id":"{event}","filler":"shorter"}}"#)).unwrap();
    fixture.ops(&["repair", &key.to_string(), "--payload", &path]).await.unwrap();
    fixture.until_empty().await;
}

#[tokio::test]
async fn retry_blocks_the_key_again_while_the_limit_stands_and_publishes_once_it_was_raised() {
    let fixture = Fixture::new().await;
    let key = fixture.blocked_key().await;
    let before = blocked_at(&fixture, key).await;
    fixture.ops(&["retry", &key.to_string()]).await.unwrap();
    eventually("it was tried and blocked again", async || match blocked_at(&fixture, key).await {
        Some(at) if Some(at) > before => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;

    let raised =
        AlterConfig::new(ResourceSpecifier::Topic(&fixture.topic)).set("max.message.bytes", "1000000");
    fixture.admin.alter_configs([&raised], &AdminOptions::new()).await.unwrap();
    eventually("the raised limit is in force", async || {
        fixture.ops(&["retry", &key.to_string()]).await.ok();
        match fixture.waiting(key).await {
            0 => Ok(()),
            waiting => Err(format!("{waiting} wait")),
        }
    })
    .await;
}

/// When the key was blocked last, unless it is released.
async fn blocked_at(fixture: &Fixture, key: Uuid) -> Option<chrono::DateTime<chrono::Utc>> {
    sqlx::query_scalar("SELECT blocked_at FROM outbox_blocked WHERE aggregate_id = $1 AND NOT released")
        .bind(key)
        .fetch_optional(&fixture.pool)
        .await
        .unwrap()
}
