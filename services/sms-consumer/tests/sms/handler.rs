//! One event, on a real database.

use std::sync::Arc;

use contracts::{Envelope, OrderCreated};
use messaging::consumer::{Answer, Delivery, Handler};
use persistence::deliveries::Deliveries;
use serde_json::json;
use sms_consumer::{Confirmations, Gateway};
use sqlx::PgPool;
use testkit::{PATIENCE, Servers, TestDatabase};
use uuid::Uuid;

use crate::orders::order;
use crate::provider::Provider;

/// The handler on a database of its own.
pub(crate) struct Service {
    pub(crate) handler: Confirmations,
    pool: PgPool,
    _database: TestDatabase,
}

impl Service {
    pub(crate) async fn new(gateway: Gateway) -> Self {
        let database = Servers::shared().await.database("sms").await.migrated().await;
        let pool = database.pool().await;
        let handler = confirmations(&pool, gateway);
        Self { handler, pool, _database: database }
    }

    pub(crate) async fn noted(&self) -> Vec<(Uuid, Uuid, String)> {
        sqlx::query_as("SELECT event_id, order_id, message_id FROM deliveries JOIN inbox USING (event_id)")
            .fetch_all(&self.pool)
            .await
            .unwrap()
    }
}

fn confirmations(pool: &PgPool, gateway: Gateway) -> Confirmations {
    let (deliveries, work) = Deliveries::new(pool, 10);
    tokio::spawn(work);
    Confirmations::new(deliveries, Arc::new(gateway))
}

fn gateway(provider: &Provider) -> Gateway {
    Gateway::new(provider.gateway_url(), None, PATIENCE).unwrap()
}

pub(crate) async fn handle(handler: &Confirmations, event: &Envelope<OrderCreated>) -> Answer {
    let delivery = Delivery { topic: "order.events".into(), attempt: 1, ..Delivery::default() };
    handler.handle(event, &delivery).await
}

#[tokio::test]
async fn an_order_is_confirmed_once_however_often_its_event_comes() {
    let provider = Provider::calm().await;
    let service = Service::new(gateway(&provider)).await;
    let event = order();
    for _ in 0..3 {
        assert_eq!(handle(&service.handler, &event).await, Answer::Ok);
    }
    let order_id = event.data.order_id;
    assert_eq!(provider.deliveries(order_id).await, (1, 0), "the inbox keeps the repeats from the provider");
    assert_eq!(service.noted().await, [(event.id, order_id, event.id.to_string())]);
}

#[tokio::test]
async fn a_message_whose_answer_was_lost_is_sent_again_and_delivered_once() {
    let provider = Provider::calm().await;
    let service = Service::new(gateway(&provider)).await;
    let event = order();

    provider.set(json!({"lost_answer_rate": 1})).await;
    assert!(matches!(handle(&service.handler, &event).await, Answer::Unavailable(_)));
    assert_eq!(service.noted().await, [], "nobody knows whether it was taken");

    assert_eq!(handle(&service.handler, &event).await, Answer::Ok);
    assert_eq!(provider.deliveries(event.data.order_id).await, (1, 1));
    assert_eq!(service.noted().await.len(), 1);
}

#[tokio::test]
async fn twins_in_two_processes_are_one_delivery_and_one_row() {
    let provider = Provider::calm().await;
    provider.set(json!({"latency_ms": 100})).await;
    let service = Service::new(gateway(&provider)).await;
    let twin = confirmations(&service.pool, gateway(&provider));
    let event = order();
    let (one, other) = tokio::join!(handle(&service.handler, &event), handle(&twin, &event));
    assert_eq!((one, other), (Answer::Ok, Answer::Ok));
    assert_eq!(provider.deliveries(event.data.order_id).await.0, 1);
    assert_eq!(service.noted().await.len(), 1);
}

#[tokio::test]
async fn without_the_database_no_message_is_sent() {
    let provider = Provider::calm().await;
    let nowhere = format!("postgres://sms:sms@127.0.0.1:{}/sms", testkit::free_port());
    let pool = persistence::pool::connect_lazy(&nowhere, 1, "test").unwrap();
    let handler = confirmations(&pool, gateway(&provider));
    let event = order();
    assert!(matches!(handle(&handler, &event).await, Answer::Unavailable(_)));
    assert_eq!(provider.deliveries(event.data.order_id).await, (0, 0));
}

#[tokio::test]
async fn an_order_beyond_the_horizon_is_poison_and_no_message_unless_an_operator_allows_it() {
    let provider = Provider::calm().await;
    let service = Service::new(gateway(&provider)).await;
    let event = order();
    sqlx::query("UPDATE inbox_horizon SET pruned_up_to = now()").execute(&service.pool).await.unwrap();
    let answer = handle(&service.handler, &event).await;
    assert!(
        matches!(&answer, Answer::Poison(reason) if reason.starts_with("beyond-horizon: ")),
        "{answer:?}"
    );
    assert_eq!(provider.deliveries(event.data.order_id).await, (0, 0));

    let allowed = Delivery { beyond_horizon: true, ..Delivery::default() };
    for _ in 0..2 {
        assert_eq!(service.handler.handle(&event, &allowed).await, Answer::Ok);
    }
    assert_eq!(provider.deliveries(event.data.order_id).await, (1, 0));
}
