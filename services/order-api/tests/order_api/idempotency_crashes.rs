//! Orders under an `Idempotency-Key` whose answer never arrived.

use reqwest::Client;
use serde_json::{Value, json};
use testkit::{Process, Servers, eventually};
use uuid::Uuid;

use crate::proxy::{Proxy, hold_orders};
use crate::shop::{Answer, NOWHERE, Shop, order_for, rows};

#[tokio::test]
async fn after_a_503_of_unknown_outcome_a_repeat_finds_the_order_that_stands() {
    let database = Servers::shared().await.database("orders").await;
    let pool = database.pool().await;
    let (proxy, url) = Proxy::before(database.url()).await;
    // One connection, on which the first order prepares the statements.
    let shop = Shop::open_at(&url, NOWHERE, &["--write-connections", "1"]).await;
    shop.ready().await;
    shop.order_under("key-0").await.order_id();

    let blocker = hold_orders(&pool).await;
    let (lost, ()) = tokio::join!(shop.order_under_once("key-1"), proxy.lose_the_answer(&pool, blocker));
    let detail = lost.is_problem(503).body["detail"].as_str().unwrap();
    assert!(detail.contains("same Idempotency-Key"), "{detail}");
    assert_eq!(rows(&pool).await, (2, 2, 2), "the order stands");

    proxy.let_answers_through();
    let found = shop.order_under("key-1").await;
    assert!(found.replayed);
    assert_eq!(found.order_id(), lost.body["order_id"].as_str().unwrap());
    assert_eq!(rows(&pool).await, (2, 2, 2));
    shop.close().await;
}

#[tokio::test]
async fn after_a_kill_between_commit_and_answer_a_repeat_finds_the_order() {
    let database = Servers::shared().await.database("orders").await;
    let pool = database.pool().await;
    let (proxy, url) = Proxy::before(database.url()).await;
    let settings =
        [("ORDERS_DATABASE_URL", url.as_str()), ("REDIS_URL", NOWHERE), ("ORDER_API_WRITE_CONNECTIONS", "1")];
    let mut process = Process::spawn("order-api", &settings).await;
    let (address, client) = (process.url("/api/order"), Client::new());
    let order = async |key: &str| {
        let body: Value = order_for(json!([{ "product_id": 1, "quantity": 2 }]));
        client.post(&address).header("idempotency-key", key).json(&body).send().await
    };
    // Prepares the statements on the one connection.
    Answer::read(order("key-0").await.unwrap()).await.order_id();

    let blocker = hold_orders(&pool).await;
    let kill = async {
        proxy.lose_the_answer(&pool, blocker).await;
        eventually("the order is committed", async || {
            let counts = rows(&pool).await;
            if counts == (2, 2, 2) { Ok(()) } else { Err(format!("{counts:?}")) }
        })
        .await;
        process.kill9();
    };
    let (lost, ()) = tokio::join!(order("key-1"), kill);
    assert!(lost.is_err(), "no answer came: {lost:?}");

    proxy.let_answers_through();
    process.restart().await;
    let found = Answer::read(order("key-1").await.unwrap()).await;
    assert!(found.replayed);
    let newest: Uuid =
        sqlx::query_scalar("SELECT id FROM orders ORDER BY id DESC LIMIT 1").fetch_one(&pool).await.unwrap();
    assert_eq!(found.order_id(), newest.to_string());
    assert_eq!(rows(&pool).await, (2, 2, 2));
}
