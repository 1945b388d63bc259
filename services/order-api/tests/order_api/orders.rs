//! Taking orders and reading them back.

use contracts::decode_order_created;
use futures::future::join_all;
use serde_json::json;
use uuid::Uuid;

use crate::shop::{Shop, order_for, rows};

#[tokio::test]
async fn an_order_is_answered_to_the_letter_and_can_be_read_back() {
    let (shop, _database) = Shop::open().await;
    for path in ["/api/order", "/api/orders"] {
        let body = json!({
            "user_id": 123, "email": "user@example.com", "phone": "+1234567890",
            "items": [{ "product_id": 1, "quantity": 2, "price": 29.99 }], "total": 59.98,
        });
        let answer = shop.post(path, &body).await;
        let id = answer.order_id();
        assert_eq!(answer.location, Some(format!("/api/orders/{id}")));
        assert_eq!(
            answer.body,
            json!({
                "success": true, "order_id": id, "status": "pending", "total": 59.98,
                "response_time_ms": answer.body["response_time_ms"],
                "message": "Order created, processing in background",
            })
        );
        assert_eq!(Uuid::parse_str(&id).unwrap().get_version_num(), 7);

        let read = shop.get(&answer.location.unwrap()).await;
        assert_eq!(read.status, 200);
        let data = &read.body["data"];
        assert_eq!(
            (&read.body["success"], &data["order_id"], &data["status"]),
            (&json!(true), &json!(id), &json!("pending"))
        );
        assert_eq!(data["items"], json!([{ "product_id": 1, "quantity": 2, "price": 29.99 }]));
        assert_eq!((&data["total"], &data["user_id"]), (&json!(59.98), &json!(123)));
        assert!(!read.body.to_string().contains("example.com"), "no contact in an answer that needs no key");
    }
    shop.close().await;
}

#[tokio::test]
async fn a_clients_prices_are_not_believed_and_a_product_named_twice_is_one_line() {
    let (shop, _database) = Shop::open().await;
    let mut body = order_for(json!([
        { "product_id": 1, "quantity": 2, "price": 0.01 },
        { "product_id": 2, "quantity": 1, "price": -5 },
        { "product_id": 1, "quantity": 3 },
    ]));
    body["total"] = json!(0.01);
    let answer = shop.post("/api/order", &body).await;
    let price_of_2 = shop.get("/api/product/2").await.body["data"]["price"].as_f64().unwrap();
    let read = shop.get(&format!("/api/orders/{}", answer.order_id())).await;
    assert_eq!(
        read.body["data"]["items"],
        json!([
            { "product_id": 1, "quantity": 5, "price": 29.99 },
            { "product_id": 2, "quantity": 1, "price": price_of_2 },
        ])
    );
    let total = answer.body["total"].as_f64().unwrap();
    assert!((total - (5.0 * 29.99 + price_of_2)).abs() < 0.001, "{total}");
    shop.close().await;
}

#[tokio::test]
async fn the_event_of_an_order_stands_beside_it_in_the_outbox() {
    let (shop, database) = Shop::open().await;
    let pool = database.pool().await;
    let id = Uuid::parse_str(&shop.order().await.order_id()).unwrap();
    assert_eq!(rows(&pool).await, (1, 1, 1));

    let (topic, aggregate, sequence, event_id, event_type, source, payload): (
        String,
        Uuid,
        i64,
        Uuid,
        String,
        String,
        String,
    ) = sqlx::query_as(
        "SELECT topic, aggregate_id, sequence, event_id, event_type, source, payload::text FROM outbox",
    )
    .fetch_one(&pool)
    .await
    .unwrap();
    assert_eq!((topic.as_str(), aggregate, sequence), ("order.events", id, 1));
    assert_eq!((event_id, event_type.as_str()), (contracts::event_id(id, 1), "OrderCreated"));
    assert_eq!(source, "/orderflow/order-api");
    let event = decode_order_created(payload.as_bytes()).unwrap().unwrap();
    assert_eq!((event.id, event.aggregate_id, event.sequence), (event_id, id, 1));
    assert_eq!(
        (event.data.order_id, event.data.email.as_str(), event.data.total.cents()),
        (id, "user@example.com", 5998)
    );
    assert_eq!((event.data.items[0].product_id, event.data.items[0].quantity), (1, 2));
    shop.close().await;
}

#[tokio::test]
async fn without_its_event_no_order_is_written() {
    let (shop, database) = Shop::open().await;
    let pool = database.pool().await;
    sqlx::query("ALTER TABLE outbox ADD CONSTRAINT outbox_is_closed CHECK (false)")
        .execute(&pool)
        .await
        .unwrap();
    let answer = shop.order_once().await;
    let body = &answer.is_problem(503).body;
    let id = body["order_id"].as_str().unwrap();
    assert!(!body.to_string().contains("outbox"), "a cause is not sent: {body}");
    assert_eq!(rows(&pool).await, (0, 0, 0));
    shop.get(&format!("/api/orders/{id}")).await.is_problem(404);

    sqlx::query("ALTER TABLE outbox DROP CONSTRAINT outbox_is_closed").execute(&pool).await.unwrap();
    shop.order().await.order_id();
    assert_eq!(rows(&pool).await, (1, 1, 1));
    shop.close().await;
}

#[tokio::test]
async fn many_orders_at_once_are_all_taken_once() {
    let (shop, database) = Shop::open().await;
    let answers = join_all((0..100).map(|_| shop.order())).await;
    let ids: std::collections::BTreeSet<_> = answers.iter().map(|answer| answer.order_id()).collect();
    assert_eq!(ids.len(), 100);
    assert_eq!(rows(&database.pool().await).await, (100, 100, 100));
    shop.close().await;
}

#[tokio::test]
async fn an_unknown_order_is_not_found_and_what_is_no_uuid_is_refused() {
    let (shop, _database) = Shop::open().await;
    let answer = shop.get(&format!("/api/orders/{}", Uuid::now_v7())).await;
    assert_eq!(answer.is_problem(404).body["error"], "Order not found");
    assert_eq!(shop.get("/api/orders/17").await.is_problem(400).fields(), ["id"]);
    shop.close().await;
}
