//! One running order API with a database and a cache of its own.

use std::time::Duration;

use clap::Parser;
use order_api::{Config, Patience};
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use sqlx::PgPool;
use testkit::{Servers, TestDatabase, eventually};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A port that nothing listens on.
pub(crate) const NOWHERE: &str = "redis://127.0.0.1:1";

/// The cache answers in its own time: a busy machine must not look like a cache that is away.
pub(crate) const PATIENT: &[&str] = &["--timeout", "5s"];

/// Longer than any test.
const LONG: Duration = Duration::from_secs(180);

pub(crate) struct Shop {
    pub(crate) address: String,
    pub(crate) client: Client,
    shutdown: CancellationToken,
    service: JoinHandle<anyhow::Result<()>>,
}

/// What a caller got.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) location: Option<String>,
    pub(crate) content_type: String,
    /// Whether it says that it was given before.
    pub(crate) replayed: bool,
    pub(crate) body: Value,
}

impl Shop {
    /// A shop on the shared servers, and the database behind it.
    pub(crate) async fn open() -> (Self, TestDatabase) {
        let servers = Servers::shared().await;
        let database = servers.database("orders").await;
        let redis = servers.redis_database().await;
        let shop = Self::open_at(database.url(), &redis, PATIENT).await;
        shop.ready().await;
        (shop, database)
    }

    /// A shop with its servers wherever they are; not necessarily ready.
    pub(crate) async fn open_at(database_url: &str, redis_url: &str, settings: &[&str]) -> Self {
        Self::open_with(database_url, redis_url, settings, Patience::default()).await
    }

    /// A shop for which nothing is late, so that a test may hold its orders up for as long as a busy machine takes; and so is its database.
    pub(crate) async fn open_patiently(database: &TestDatabase, redis_url: &str, settings: &[&str]) -> Self {
        database.lift_time_outs().await;
        let patience = Patience { turn: LONG, read: LONG, write: LONG };
        let shop = Self::open_with(database.url(), redis_url, settings, patience).await;
        shop.ready().await;
        shop
    }

    async fn open_with(database_url: &str, redis_url: &str, settings: &[&str], patience: Patience) -> Self {
        let servers = ["order-api", "--database-url", database_url, "--redis-url", redis_url];
        let mut config = Config::try_parse_from(servers.iter().chain(settings)).unwrap();
        config.patience = patience;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let shutdown = CancellationToken::new();
        let service = tokio::spawn(order_api::run(config, listener, shutdown.clone()));
        Self { address, client: Client::new(), shutdown, service }
    }

    pub(crate) async fn ready(&self) {
        eventually("the order API is ready", async || {
            let answer = self.get_once("/health/ready").await;
            if answer.status == 200 { Ok(()) } else { Err(answer.body.to_string()) }
        })
        .await;
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        patiently(|| self.client.get(self.url(path))).await
    }

    pub(crate) async fn get_once(&self, path: &str) -> Answer {
        once(self.client.get(self.url(path))).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        patiently(|| self.client.post(self.url(path)).json(body)).await
    }

    pub(crate) async fn post_under(&self, key: &str, body: &Value) -> Answer {
        patiently(|| self.under(key, body)).await
    }

    /// Orders two of product 1 under a key.
    pub(crate) async fn order_under(&self, key: &str) -> Answer {
        self.post_under(key, &two_of_product_1()).await
    }

    pub(crate) async fn order_under_once(&self, key: &str) -> Answer {
        once(self.under(key, &two_of_product_1())).await
    }

    /// Orders two of product 1.
    pub(crate) async fn order(&self) -> Answer {
        self.post("/api/order", &two_of_product_1()).await
    }

    pub(crate) async fn order_once(&self) -> Answer {
        once(self.client.post(self.url("/api/order")).json(&two_of_product_1())).await
    }

    fn under(&self, key: &str, body: &Value) -> RequestBuilder {
        self.client.post(self.url("/api/order")).header("idempotency-key", key).json(body)
    }

    pub(crate) async fn close(self) {
        self.shutdown.cancel();
        self.service.await.unwrap().unwrap();
    }
}

impl Answer {
    pub(crate) async fn read(response: Response) -> Self {
        let header = |name| Some(response.headers().get(name)?.to_str().ok()?.to_owned());
        let (location, content_type) = (header("location"), header("content-type").unwrap_or_default());
        let replayed = header("idempotent-replayed").is_some_and(|value| value == "true");
        let status = response.status().as_u16();
        let text = response.text().await.unwrap();
        let body = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{status} without JSON: {text}"));
        Self { status, location, content_type, replayed, body }
    }

    /// The id of an order that was taken.
    pub(crate) fn order_id(&self) -> String {
        assert_eq!(self.status, 201, "{}", self.body);
        self.body["order_id"].as_str().unwrap().to_owned()
    }

    /// Checks that this is a problem in every respect.
    pub(crate) fn is_problem(&self, status: u16) -> &Self {
        assert_eq!(self.status, status, "{}", self.body);
        assert_eq!(self.content_type, "application/json");
        let title = StatusCode::from_u16(status).unwrap();
        assert_eq!((&self.body["success"], &self.body["status"]), (&json!(false), &json!(status)), "{title}");
        for member in ["error", "type", "title", "detail", "request_id"] {
            assert!(
                self.body[member].as_str().is_some_and(|text| !text.is_empty()),
                "{member} in {}",
                self.body
            );
        }
        self
    }

    /// The fields that a refusal names.
    pub(crate) fn fields(&self) -> Vec<&str> {
        let errors = self.body["errors"].as_array().map(Vec::as_slice).unwrap_or_default();
        errors.iter().map(|error| error["field"].as_str().unwrap()).collect()
    }
}

async fn once(request: RequestBuilder) -> Answer {
    Answer::read(request.send().await.unwrap()).await
}

/// The first answer other than 503, which a shop gives when its database does not answer in time: also on a machine that stands still
/// for seconds.
async fn patiently(request: impl Fn() -> RequestBuilder) -> Answer {
    eventually("an answer other than 503", async || {
        let answer = once(request()).await;
        if answer.status == 503 { Err(answer.body.to_string()) } else { Ok(answer) }
    })
    .await
}

fn two_of_product_1() -> Value {
    order_for(json!([{ "product_id": 1, "quantity": 2 }]))
}

pub(crate) fn order_for(items: Value) -> Value {
    json!({ "user_id": 123, "email": "user@example.com", "phone": "+1234567890", "items": items })
}

/// Rows in orders, order_items and outbox.
pub(crate) async fn rows(pool: &PgPool) -> (i64, i64, i64) {
    sqlx::query_as(
        "SELECT (SELECT count(*) FROM orders), (SELECT count(*) FROM order_items), (SELECT count(*) FROM outbox)",
    )
    .fetch_one(pool)
    .await
    .unwrap()
}
