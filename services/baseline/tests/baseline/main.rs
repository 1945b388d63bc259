//! The baseline on a real Postgres.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::{Duration, Instant};

use baseline::Config;
use reqwest::StatusCode;
use serde_json::{Value, json};
use sqlx::PgPool;
use testkit::{Servers, TestDatabase, eventually};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

struct Shop {
    url: String,
    pool: PgPool,
    shutdown: CancellationToken,
    service: JoinHandle<anyhow::Result<()>>,
    _database: TestDatabase,
}

impl Shop {
    /// With short latencies unless `settings` say otherwise.
    async fn open(settings: &[&str]) -> Self {
        let database = Servers::shared().await.database("baseline").await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let quick =
            ["--product", "--insert", "--email", "--sms", "--stock", "--analytics"].map(|step| [step, "1ms"]);
        let arguments = [&["baseline"], quick.as_flattened(), settings].concat();
        let mut config = <Config as clap::Parser>::try_parse_from(dedup(&arguments)).unwrap();
        config.database_url = database.url().to_owned();
        let shutdown = CancellationToken::new();
        let service = tokio::spawn(baseline::run(config, listener, shutdown.clone()));
        let shop = Self { url, pool: database.pool().await, shutdown, service, _database: database };
        eventually("the baseline is ready", async || match reqwest::get(shop.path("/health/ready")).await {
            Ok(answer) if answer.status() == StatusCode::OK => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .await;
        shop
    }

    fn path(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    async fn get(&self, path: &str) -> (StatusCode, Value) {
        let answer = reqwest::get(self.path(path)).await.unwrap();
        (answer.status(), answer.json().await.unwrap())
    }

    async fn post(&self, body: &Value) -> (StatusCode, Value) {
        let answer = reqwest::Client::new().post(self.path("/api/order")).json(body).send().await.unwrap();
        (answer.status(), answer.json().await.unwrap())
    }

    async fn close(self) {
        self.shutdown.cancel();
        self.service.await.unwrap().unwrap();
    }
}

/// The last value of a flag counts.
fn dedup<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    let mut kept: Vec<&str> = vec![arguments[0]];
    for pair in arguments[1..].chunks(2) {
        match kept.iter().position(|known| *known == pair[0]) {
            Some(place) => kept[place + 1] = pair[1],
            None => kept.extend(pair),
        }
    }
    kept
}

fn order() -> Value {
    json!({
        "user_id": 123, "email": "user@example.com", "phone": "+1234567890",
        "items": [{"product_id": 1, "quantity": 2, "price": 0.01}], "total": 0.02
    })
}

#[tokio::test]
async fn an_order_is_priced_by_the_catalogue_and_done_when_the_answer_comes() {
    let shop = Shop::open(&["--failure-rate", "0"]).await;
    let before: i32 =
        sqlx::query_scalar("SELECT stock FROM products WHERE id = 1").fetch_one(&shop.pool).await.unwrap();
    let (status, body) = shop.post(&order()).await;
    assert_eq!(
        (status, &body["success"], &body["total"]),
        (StatusCode::CREATED, &json!(true), &json!(59.98))
    );

    let (_, stored) = shop.get(&format!("/api/orders/{}", body["order_id"].as_str().unwrap())).await;
    assert_eq!(stored["data"]["items"], json!([{"product_id": 1, "quantity": 2, "price": 29.99}]));
    let after: i32 =
        sqlx::query_scalar("SELECT stock FROM products WHERE id = 1").fetch_one(&shop.pool).await.unwrap();
    assert_eq!(after, before - 2);
    let sales: (i64, i64) =
        sqlx::query_as("SELECT sum(orders)::bigint, sum(revenue_cents)::bigint FROM sales")
            .fetch_one(&shop.pool)
            .await
            .unwrap();
    assert_eq!(sales, (1, 5998));
    shop.close().await;
}

#[tokio::test]
async fn a_failing_provider_reaches_the_caller_and_the_order_stands() {
    let shop = Shop::open(&["--failure-rate", "1"]).await;
    let (status, body) = shop.post(&order()).await;
    assert!(status.is_success());
    assert_eq!(body["success"], json!(false));
    let steps: Vec<&str> =
        body["errors"].as_array().unwrap().iter().map(|error| error["step"].as_str().unwrap()).collect();
    assert_eq!(steps, ["email", "sms"]);
    let (found, _) = shop.get(&format!("/api/orders/{}", body["order_id"].as_str().unwrap())).await;
    assert_eq!(found, StatusCode::OK);
    shop.close().await;
}

#[tokio::test]
async fn an_idempotency_key_is_checked_and_not_kept() {
    let shop = Shop::open(&["--failure-rate", "0"]).await;
    let order_under = async |key: &str| {
        let request = reqwest::Client::new().post(shop.path("/api/order")).header("idempotency-key", key);
        let answer = request.json(&order()).send().await.unwrap();
        assert!(!answer.headers().contains_key("idempotent-replayed"));
        (answer.status().as_u16(), answer.json::<Value>().await.unwrap())
    };
    let (status, body) = order_under("two words").await;
    assert_eq!((status, &body["errors"][0]["field"]), (400, &json!("Idempotency-Key")));
    let [(status, one), (_, other)] = [order_under("key").await, order_under("key").await];
    assert_eq!(status, 201);
    assert_ne!(one["order_id"], other["order_id"]);
    shop.close().await;
}

#[tokio::test]
async fn the_caller_waits_for_the_sum_of_all_steps() {
    let shop = Shop::open(&["--failure-rate", "0", "--email", "200ms", "--sms", "300ms"]).await;
    let started = Instant::now();
    let (_, body) = shop.post(&order()).await;
    // A lower bound only: sleeping is what is promised, speed is not.
    assert!(started.elapsed() >= Duration::from_millis(500));
    assert!(body["response_time_ms"].as_f64().unwrap() >= 500.0);
    shop.close().await;
}

#[tokio::test]
async fn it_answers_the_contract_of_the_order_api_without_a_cache() {
    let shop = Shop::open(&[]).await;
    for path in ["/api/product/1", "/api/products/1"] {
        let (_, body) = shop.get(path).await;
        assert_eq!((&body["data"]["price"], &body["from_cache"]), (&json!(29.99), &json!(false)), "{path}");
    }
    let (_, page) = shop.get("/api/products?page=2&per_page=30").await;
    assert_eq!((&page["data"][0]["id"], &page["total"]), (&json!(31), &json!(100)));
    let (_, stats) = shop.get("/api/cache/stats").await;
    assert_eq!(stats, json!({"hits": 0, "misses": 0, "total": 0, "hit_rate": 0.0}));
    for (path, status, error) in [
        ("/api/product/101", 404, "Product not found"),
        ("/api/orders/0192f0c1-2b3c-7d4e-8f50-617283940a1b", 404, "Order not found"),
    ] {
        let (found, body) = shop.get(path).await;
        assert_eq!(
            (found.as_u16(), &body["success"], &body["error"]),
            (status, &json!(false), &json!(error))
        );
    }
    let (status, body) = shop.post(&json!({"user_id": 1})).await;
    assert_eq!((status.as_u16(), &body["success"]), (400, &json!(false)));
    let orders: i64 = sqlx::query_scalar("SELECT count(*) FROM orders").fetch_one(&shop.pool).await.unwrap();
    assert_eq!(orders, 0);
    shop.close().await;
}
