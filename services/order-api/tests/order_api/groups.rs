//! Orders that come at the same time share statements, and nothing else.

use futures::future::join_all;
use serde_json::json;
use sqlx::PgPool;
use testkit::{Servers, eventually};
use tokio::task::JoinHandle;

use crate::proxy::hold_orders;
use crate::shop::{Answer, NOWHERE, Shop, order_for, rows};

/// Statements that can be under way at a time.
const LANES: i64 = 2;

/// Sends an order of two of product 1 without waiting for its answer.
fn send(shop: &Shop, user: i64, key: Option<&str>) -> JoinHandle<Answer> {
    let mut order = order_for(json!([{ "product_id": 1, "quantity": 2 }]));
    order["user_id"] = user.into();
    let request = shop.client.post(shop.url("/api/order")).json(&order);
    let request = key.into_iter().fold(request, |request, key| request.header("idempotency-key", key));
    tokio::spawn(async move { Answer::read(request.send().await.unwrap()).await })
}

/// Waits until so many statements wait for the table.
async fn lanes_are_taken(pool: &PgPool, lanes: i64) {
    eventually("the lanes are taken", async || {
        let waiting: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM pg_stat_activity
             WHERE datname = current_database() AND application_name = 'order-api write' AND wait_event_type = 'Lock'",
        )
        .fetch_one(pool)
        .await
        .unwrap();
        if waiting == lanes { Ok(()) } else { Err(waiting.to_string()) }
    })
    .await;
}

/// Waits until so many orders are under way in the API.
async fn under_way(shop: &Shop, orders: usize) {
    eventually("orders are under way", async || {
        let metrics = shop.client.get(shop.url("/metrics")).send().await.unwrap().text().await.unwrap();
        let line = format!("orders_under_way {orders}.0\n");
        if metrics.contains(&line) { Ok(()) } else { Err("other") }
    })
    .await;
}

/// Transactions that wrote the orders of the table.
async fn transactions(pool: &PgPool) -> i64 {
    sqlx::query_scalar("SELECT count(DISTINCT xmin::text) FROM orders").fetch_one(pool).await.unwrap()
}

#[tokio::test]
async fn orders_that_come_at_the_same_time_get_each_its_own_answer_and_share_statements() {
    let database = Servers::shared().await.database("orders").await;
    let pool = database.pool().await;
    let shop = Shop::open_patiently(&database, NOWHERE, &[]).await;
    let blocker = hold_orders(&pool).await;
    let mut sent = Vec::new();
    // One after the other: those that come in the same moment share a lane.
    for lane in 1..=LANES {
        sent.push(send(&shop, lane, None));
        lanes_are_taken(&pool, lane).await;
    }
    sent.extend((LANES + 1..=40).map(|user| send(&shop, user, Some("a").filter(|_| user % 7 == 0))));
    under_way(&shop, 40).await;
    blocker.commit().await.unwrap();

    let answers = join_all(sent).await.into_iter().map(Result::unwrap).collect::<Vec<_>>();
    let mut under_the_key = 0;
    for (user, answer) in (1..).zip(&answers) {
        if user % 7 == 0 && answer.status == 422 {
            // Another order stands under the key.
            continue;
        }
        under_the_key += i32::from(user % 7 == 0);
        let order = shop.get(&format!("/api/orders/{}", answer.order_id())).await;
        assert_eq!(order.body["data"]["user_id"], user, "each got the answer to its own order");
    }
    assert_eq!(under_the_key, 1, "of five orders under one key");
    let statements = transactions(&pool).await;
    assert!(statements < 36, "{statements} statements for 36 orders");
    shop.close().await;
}

#[tokio::test]
async fn what_comes_beyond_the_orders_that_may_be_under_way_is_refused_at_once_and_the_others_are_taken() {
    let database = Servers::shared().await.database("orders").await;
    let pool = database.pool().await;
    let shop = Shop::open_patiently(&database, NOWHERE, &["--orders-at-once", "3"]).await;
    let blocker = hold_orders(&pool).await;
    let sent: Vec<_> = (1..=3).map(|user| send(&shop, user, None)).collect();
    under_way(&shop, 3).await;
    // No body, so nothing can have been read of it.
    let refused = shop.client.post(shop.url("/api/order")).send().await.unwrap();
    assert_eq!(refused.headers()["retry-after"], "1");
    let refused = Answer::read(refused).await;
    refused.is_problem(503);
    assert!(refused.body["error"].as_str().unwrap().contains("not taken"), "{}", refused.body);
    assert_eq!(shop.get_once("/api/products").await.status, 200, "who reads is not concerned");
    blocker.commit().await.unwrap();
    for answer in join_all(sent).await {
        answer.unwrap().order_id();
    }
    shop.order_once().await.order_id();
    assert_eq!(rows(&pool).await, (4, 4, 4));
    let metrics = shop.client.get(shop.url("/metrics")).send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains("orders_total{outcome=\"overloaded\"} 1"), "{metrics}");
    shop.close().await;
}
