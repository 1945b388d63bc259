//! `ops product set` on a real catalogue and a real cache.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::{Command, Output};

use product_cache::Entry;
use serde_json::{Value, json};
use testkit::{Servers, TestDatabase};

/// A port that nothing listens on.
const NOWHERE: &str = "redis://127.0.0.1:1";

struct Fixture {
    database: TestDatabase,
    redis: String,
}

impl Fixture {
    async fn new() -> Self {
        let servers = Servers::shared().await;
        let database = servers.database("orders").await.migrated().await;
        Self { database, redis: servers.redis_database().await }
    }

    async fn set_at(&self, redis: &str, arguments: &[&str]) -> (Option<i32>, String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ops"));
        command.args(["product", "set"]).args(arguments);
        command.env("ORDERS_DATABASE_URL", self.database.url()).env("REDIS_URL", redis);
        let Output { status, stdout, stderr } =
            tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (status.code(), text(stdout), text(stderr))
    }

    async fn set(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        self.set_at(&self.redis, arguments).await
    }

    async fn row(&self, id: i32) -> (String, String, i64, i64) {
        sqlx::query_as("SELECT name, description, price_cents, version FROM products WHERE id = $1")
            .bind(id)
            .fetch_one(&self.database.pool().await)
            .await
            .unwrap()
    }

    /// Version, product and time to live in milliseconds.
    async fn cached(&self, id: i32) -> (u64, Value, i64) {
        let client = redis::Client::open(self.redis.as_str()).unwrap();
        let mut redis = client.get_multiplexed_async_connection().await.unwrap();
        let (stored, left): (Option<Vec<u8>>, i64) =
            product_cache::read(id).query_async(&mut redis).await.unwrap();
        let entry = Entry::parse(&stored.unwrap()).unwrap();
        (entry.version(), serde_json::from_str(entry.json().unwrap().get()).unwrap(), left)
    }
}

#[tokio::test]
async fn what_is_given_changes_in_catalogue_and_cache_and_the_rest_stays() {
    let shop = Fixture::new().await;
    let (status, said, _) = shop.set(&["1", "--price", "24.9"]).await;
    assert_eq!((status, said.as_str()), (Some(0), "product 1 is \"Product 1\" at 24.90 now, version 2\n"));
    let (status, said, _) = shop.set(&["1", "--name", "A chair", "--description", ""]).await;
    assert_eq!((status, said.as_str()), (Some(0), "product 1 is \"A chair\" at 24.90 now, version 3\n"));
    assert_eq!(shop.row(1).await, ("A chair".into(), String::new(), 2490, 3));
    let (version, product, left) = shop.cached(1).await;
    assert_eq!(
        (version, product),
        (3, json!({ "id": 1, "name": "A chair", "price": 24.9, "description": "" }))
    );
    assert!((1..=300_000).contains(&left), "{left}");
    assert_eq!(shop.row(2).await.3, 1, "other products stay");
}

#[tokio::test]
async fn with_redis_away_the_change_stands_and_the_exit_status_says_that_caches_may_be_old() {
    let shop = Fixture::new().await;
    let (status, said, complaint) = shop.set_at(NOWHERE, &["1", "--price", "24.99", "--ttl", "10m"]).await;
    assert_eq!((status, shop.row(1).await.2), (Some(3), 2499), "{complaint}");
    assert!(said.contains("version 2") && complaint.contains("for up to 600s"), "{said}{complaint}");
    // And again, as it says.
    assert_eq!(shop.set(&["1", "--price", "24.99"]).await.0, Some(0));
    assert_eq!(shop.cached(1).await.0, 3);
}

#[tokio::test]
async fn an_unknown_product_and_wrong_arguments_change_nothing() {
    let shop = Fixture::new().await;
    let (status, _, complaint) = shop.set(&["101", "--price", "1"]).await;
    assert_eq!((status, complaint.contains("there is no product 101")), (Some(1), true), "{complaint}");
    for arguments in [
        &["1"][..],
        &["1", "--price", "0"],
        &["1", "--price", "1.999"],
        &["1", "--name", ""],
        &["x", "--price", "1"],
    ] {
        assert_eq!(shop.set(arguments).await.0, Some(2), "{arguments:?}");
    }
    assert_eq!(shop.row(1).await.3, 1);
}
