//! The analytics on a real Postgres.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use analytics_consumer::{Analytics, Config};
use chrono::Utc;
use contracts::{Envelope, Money, ORDER_CREATED, OrderCreated, OrderLine};
use messaging::consumer::{Answer, BatchHandler, Delivered, Delivery};
use serde_json::{Value, json};
use sqlx::PgPool;
use testkit::{Servers, TestDatabase, eventually};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

async fn database() -> (TestDatabase, PgPool) {
    let database = Servers::shared().await.database("analytics").await.migrated().await;
    database.lift_time_outs().await;
    let pool = database.pool().await;
    (database, pool)
}

fn order(lines: &[(i32, i32, i64)]) -> Envelope<OrderCreated> {
    let order_id = Uuid::now_v7();
    let money = |cents| Money::from_cents(cents).unwrap();
    let items = lines
        .iter()
        .map(|&(product_id, quantity, cents)| OrderLine { product_id, quantity, unit_price: money(cents) })
        .collect();
    let total = money(lines.iter().map(|&(_, quantity, cents)| i64::from(quantity) * cents).sum());
    let (email, phone) = ("user@example.com".to_owned(), "+1234567890".to_owned());
    let data = OrderCreated { order_id, user_id: 1, email, phone, items, total };
    Envelope::new(ORDER_CREATED, "/tests", order_id, 1, Utc::now(), data)
}

/// The events as one batch.
async fn apply(analytics: &Analytics, events: &[Envelope<OrderCreated>]) -> Answer {
    let batch: Vec<_> = events
        .iter()
        .map(|event| {
            let topic = "order.events".into();
            let delivery = Delivery { topic, attempt: 1, ..Delivery::default() };
            Delivered { event: event.clone(), delivery }
        })
        .collect();
    analytics.handle_batch(&batch).await
}

async fn totals(pool: &PgPool) -> (i64, i64) {
    sqlx::query_as("SELECT coalesce(sum(orders), 0)::bigint, coalesce(sum(revenue_cents), 0)::bigint FROM orders_per_minute")
        .fetch_one(pool)
        .await
        .unwrap()
}

#[tokio::test]
async fn an_event_that_comes_many_times_at_once_is_counted_once() {
    let (_database, pool) = database().await;
    let (analytics, event) = (Analytics::new(pool.clone()), order(&[(1, 2, 2999)]));
    let twice = [event.clone(), event];
    let answers = futures::future::join_all((0..8).map(|_| apply(&analytics, &twice))).await;
    assert!(answers.iter().all(|answer| *answer == Answer::Ok), "{answers:?}");
    assert_eq!(totals(&pool).await, (1, 5998));
}

#[tokio::test]
async fn orders_that_sell_the_same_products_in_opposite_order_add_up_without_deadlock() {
    let (_database, pool) = database().await;
    let analytics = Analytics::new(pool.clone());
    let events: Vec<_> =
        (0..100)
            .map(|n| {
                if n % 2 == 0 { order(&[(1, 1, 100), (2, 1, 10)]) } else { order(&[(2, 1, 10), (1, 1, 100)]) }
            })
            .collect();
    let answers = futures::future::join_all(events.chunks(5).map(|batch| apply(&analytics, batch))).await;
    assert!(answers.iter().all(|answer| *answer == Answer::Ok), "{answers:?}");
    assert_eq!(totals(&pool).await, (100, 11_000));
}

#[tokio::test]
async fn orders_revenue_and_top_products_are_answered_without_kafka_and_refusals_name_the_parameter() {
    let (database, pool) = database().await;
    let analytics = Analytics::new(pool);
    let events = [order(&[(1, 2, 2999), (2, 5, 100)]), order(&[(2, 1, 100)])];
    assert_eq!(apply(&analytics, &events).await, Answer::Ok);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let shutdown = CancellationToken::new();
    let mut config =
        <Config as clap::Parser>::parse_from(["analytics-consumer", "--kafka-brokers", "127.0.0.1:1"]);
    config.database_url = database.url().to_owned();
    let service = tokio::spawn(analytics_consumer::run(config, listener, shutdown.clone()));

    let get = async |path: &str| {
        let answer = reqwest::get(format!("{url}{path}")).await.unwrap();
        (answer.status().as_u16(), serde_json::from_str::<Value>(&answer.text().await.unwrap()).unwrap())
    };
    let top =
        eventually("the top is answered", async || match get("/api/analytics/products/top?limit=2").await {
            (200, body) => Ok(body),
            other => Err(format!("{other:?}")),
        })
        .await;
    let expected = json!([
        {"product_id": 2, "quantity": 6, "revenue": 6.0},
        {"product_id": 1, "quantity": 2, "revenue": 59.98},
    ]);
    assert_eq!(top, json!({"success": true, "data": expected}));
    let (status, orders) = get("/api/analytics/orders").await;
    assert_eq!(
        (status, &orders["data"]["orders"], &orders["data"]["revenue"]),
        (200, &json!(2), &json!(65.98))
    );
    let minutes = orders["data"]["minutes"].as_array().unwrap();
    assert_eq!(minutes.iter().map(|minute| minute["orders"].as_i64().unwrap()).sum::<i64>(), 2);
    for (path, error) in [
        ("/api/analytics/orders?minutes=0", "minutes must be a whole number from 1 to 10080"),
        ("/api/analytics/products/top?limit=many", "limit must be a whole number from 1 to 100"),
    ] {
        let (status, body) = get(path).await;
        assert_eq!((status, &body["error"]), (400, &json!(error)), "{path}");
    }
    shutdown.cancel();
    service.await.unwrap().unwrap();
}
