//! The inventory on a real Postgres.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod rewound;

use contracts::{Envelope, Money, ORDER_CREATED, OrderCreated, OrderLine};
use inventory_consumer::{Config, Inventory};
use messaging::consumer::{Answer, BatchHandler, Delivered, Delivery};
use serde_json::{Value, json};
use sqlx::PgPool;
use testkit::{Servers, TestDatabase, eventually};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

async fn database() -> (TestDatabase, PgPool) {
    let database = Servers::shared().await.database("inventory").await.migrated().await;
    database.lift_time_outs().await;
    let pool = database.pool().await;
    (database, pool)
}

fn order(lines: &[(i32, i32)]) -> Envelope<OrderCreated> {
    let order_id = Uuid::now_v7();
    let items = lines
        .iter()
        .map(|&(product_id, quantity)| OrderLine { product_id, quantity, unit_price: Money::ZERO })
        .collect();
    let data = OrderCreated {
        order_id,
        user_id: 1,
        email: "user@example.com".to_owned(),
        phone: "+1234567890".to_owned(),
        items,
        total: Money::ZERO,
    };
    Envelope::new(ORDER_CREATED, "/tests", order_id, 1, chrono::Utc::now(), data)
}

/// The events as one batch.
async fn apply(inventory: &Inventory, events: &[Envelope<OrderCreated>]) -> Answer {
    let batch: Vec<_> = events
        .iter()
        .map(|event| {
            let topic = "order.events".into();
            let delivery = Delivery { topic, attempt: 1, ..Delivery::default() };
            Delivered { event: event.clone(), delivery }
        })
        .collect();
    inventory.handle_batch(&batch).await
}

async fn on_hand(pool: &PgPool, product: i32) -> i32 {
    sqlx::query_scalar("SELECT on_hand FROM stock WHERE product_id = $1")
        .bind(product)
        .fetch_one(pool)
        .await
        .unwrap()
}

/// on_hand = movements - reserved, for every product.
async fn assert_balanced(pool: &PgPool) {
    let off: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM stock s
         WHERE s.on_hand <> (SELECT coalesce(sum(delta), 0) FROM stock_movements m WHERE m.product_id = s.product_id)
                          - (SELECT coalesce(sum(quantity), 0) FROM reservations r
                             WHERE r.product_id = s.product_id AND r.outcome = 'reserved')",
    )
    .fetch_one(pool)
    .await
    .unwrap();
    assert_eq!(off, 0, "products whose stock does not balance");
}

#[tokio::test]
async fn the_catalogue_starts_with_fifty_to_five_hundred_pieces_of_a_hundred_products() {
    let (_database, pool) = database().await;
    let (count, least, most): (i64, i32, i32) =
        sqlx::query_as("SELECT count(*), min(on_hand), max(on_hand) FROM stock")
            .fetch_one(&pool)
            .await
            .unwrap();
    assert_eq!(count, 100);
    assert!(least >= 50 && most <= 500, "{least} to {most}");
}

#[tokio::test]
async fn an_event_that_comes_many_times_at_once_takes_its_pieces_off_the_stock_once() {
    let (_database, pool) = database().await;
    let before = on_hand(&pool, 7).await;
    let (inventory, event) = (Inventory::new(pool.clone()), order(&[(7, 3)]));
    let twice = [event.clone(), event];
    let answers = futures::future::join_all((0..8).map(|_| apply(&inventory, &twice))).await;
    assert!(answers.iter().all(|answer| *answer == Answer::Ok), "{answers:?}");
    assert_eq!(on_hand(&pool, 7).await, before - 3);
    assert_balanced(&pool).await;
}

#[tokio::test]
async fn stock_that_does_not_suffice_is_a_recorded_outcome_and_never_goes_negative() {
    let (_database, pool) = database().await;
    let before = (on_hand(&pool, 1).await, on_hand(&pool, 2).await);
    let event = order(&[(1, 1), (2, 1000), (4711, 1)]);
    assert_eq!(apply(&Inventory::new(pool.clone()), std::slice::from_ref(&event)).await, Answer::Ok);
    assert_eq!((on_hand(&pool, 1).await, on_hand(&pool, 2).await), (before.0 - 1, before.1));
    let outcomes: Vec<(i32, String)> = sqlx::query_as(
        "SELECT product_id, outcome FROM reservations WHERE order_id = $1 ORDER BY product_id",
    )
    .bind(event.data.order_id)
    .fetch_all(&pool)
    .await
    .unwrap();
    let expected = [(1, "reserved"), (2, "insufficient"), (4711, "insufficient")];
    assert_eq!(outcomes, expected.map(|(product, outcome)| (product, outcome.to_owned())));
    assert_balanced(&pool).await;
}

/// Product, outcome and what is left, for every line that was decided.
async fn books(pool: &PgPool) -> (Vec<(Uuid, i32, i32, String)>, Vec<(i32, i32)>) {
    let lines = sqlx::query_as(
        "SELECT order_id, product_id, quantity, outcome FROM reservations ORDER BY order_id, product_id",
    );
    let stock = sqlx::query_as("SELECT product_id, on_hand FROM stock ORDER BY product_id");
    (lines.fetch_all(pool).await.unwrap(), stock.fetch_all(pool).await.unwrap())
}

#[tokio::test]
async fn a_batch_leaves_the_same_books_as_its_orders_one_by_one_in_the_order_of_the_records() {
    // More than there is of four products, so that it matters who comes first; some orders come twice.
    let mut orders: Vec<_> =
        (0..60).map(|n| order(&[(n % 4 + 1, 7 + n * 13 % 40), ((n + 1) % 4 + 1, 1 + n * 7 % 30)])).collect();
    orders.extend_from_within(10..20);
    let (_one, one_by_one) = database().await;
    let (_other, in_batches) = database().await;
    let inventory = Inventory::new(one_by_one.clone());
    for order in &orders {
        assert_eq!(apply(&inventory, std::slice::from_ref(order)).await, Answer::Ok);
    }
    let inventory = Inventory::new(in_batches.clone());
    for batch in orders.chunks(25) {
        assert_eq!(apply(&inventory, batch).await, Answer::Ok);
    }
    let books = (books(&one_by_one).await, books(&in_batches).await);
    assert_eq!(books.0, books.1);
    assert!(books.0.0.iter().any(|line| line.3 == "insufficient"), "the stock has to run out");
    assert_balanced(&in_batches).await;
}

#[tokio::test]
async fn an_order_that_cannot_be_applied_fails_its_batch_and_leaves_no_trace_of_it() {
    let (_database, pool) = database().await;
    let before = on_hand(&pool, 7).await;
    let inventory = Inventory::new(pool.clone());
    let good = order(&[(7, 1)]);
    // Another event about an order that was applied already.
    let mut bad = good.clone();
    bad.id = Uuid::new_v4();
    let batch = [order(&[(7, 1)]), good.clone(), bad.clone()];
    assert!(matches!(apply(&inventory, &batch).await, Answer::Poison(_)));
    assert_eq!(on_hand(&pool, 7).await, before);
    assert_eq!(apply(&inventory, &batch[..2]).await, Answer::Ok);
    assert!(matches!(apply(&inventory, &[bad]).await, Answer::Poison(_)), "it stands alone in the end");
    assert_eq!(on_hand(&pool, 7).await, before - 2);
    assert_balanced(&pool).await;
}

#[tokio::test]
async fn batches_that_want_the_same_products_in_opposite_order_never_deadlock() {
    let (_database, pool) = database().await;
    let inventory = Inventory::new(pool.clone());
    let events: Vec<_> = (0..100)
        .map(|n| if n % 2 == 0 { order(&[(1, 1), (2, 1), (3, 1)]) } else { order(&[(3, 1), (2, 1), (1, 1)]) })
        .collect();
    let answers = futures::future::join_all(events.chunks(5).map(|batch| apply(&inventory, batch))).await;
    assert!(answers.iter().all(|answer| *answer == Answer::Ok), "{answers:?}");
    assert_balanced(&pool).await;
}

#[tokio::test]
async fn queries_are_answered_without_kafka_and_refusals_name_what_is_wrong() {
    let (database, pool) = database().await;
    let event = order(&[(5, 2)]);
    apply(&Inventory::new(pool.clone()), std::slice::from_ref(&event)).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let shutdown = CancellationToken::new();
    let mut config =
        <Config as clap::Parser>::parse_from(["inventory-consumer", "--kafka-brokers", "127.0.0.1:1"]);
    config.database_url = database.url().to_owned();
    let service = tokio::spawn(inventory_consumer::run(config, listener, shutdown.clone()));

    let get = async |path: &str| {
        let answer = reqwest::get(format!("{url}{path}")).await.unwrap();
        (answer.status().as_u16(), serde_json::from_str::<Value>(&answer.text().await.unwrap()).unwrap())
    };
    let stock = eventually("the stock is answered", async || match get("/api/stock/5").await {
        (200, body) => Ok(body),
        other => Err(format!("{other:?}")),
    })
    .await;
    assert_eq!(
        stock,
        json!({"success": true, "data": {"product_id": 5, "available": on_hand(&pool, 5).await}})
    );
    let (status, reserved) = get(&format!("/api/reservations/{}", event.data.order_id)).await;
    let line = json!({"product_id": 5, "quantity": 2, "outcome": "reserved"});
    assert_eq!((status, &reserved["data"]["lines"]), (200, &json!([line])));
    for (path, status, error) in [
        ("/api/stock/4711", 404, "Product not found"),
        ("/api/stock/five", 400, "product_id must be a whole number"),
        ("/api/reservations/5", 400, "order_id must be a UUID"),
        (
            "/api/reservations/0192f0c1-2b3c-7d4e-8f50-617283940a1b",
            404,
            "No reservations for this order (yet)",
        ),
    ] {
        let (found, body) = get(path).await;
        assert_eq!(
            (found, &body["success"], &body["error"]),
            (status, &json!(false), &json!(error)),
            "{path}"
        );
    }
    shutdown.cancel();
    service.await.unwrap().unwrap();
}
