//! One event, on a real database.

use std::sync::Arc;

use contracts::{Envelope, OrderCreated};
use email_consumer::{Confirmations, Mailer, SmtpServer, message_id};
use messaging::consumer::{Answer, Delivery, Handler};
use persistence::deliveries::Deliveries;
use serde_json::json;
use sqlx::PgPool;
use testkit::{PATIENCE, Servers, TestDatabase};
use uuid::Uuid;

use crate::orders::{order, order_for};
use crate::provider::{Provider, server};
use crate::scripted;

async fn database() -> (TestDatabase, PgPool) {
    let database = Servers::shared().await.database("email").await.migrated().await;
    let pool = database.pool().await;
    (database, pool)
}

fn handler(pool: &PgPool, server: SmtpServer) -> Confirmations {
    let mailer = Arc::new(Mailer::new(server, PATIENCE));
    let (deliveries, work) = Deliveries::new(pool, 10);
    tokio::spawn(work);
    Confirmations::new(deliveries, mailer, "orders@orderflow.example".parse().unwrap())
}

async fn handle(handler: &Confirmations, event: &Envelope<OrderCreated>) -> Answer {
    let delivery = Delivery { topic: "order.events".into(), attempt: 1, ..Delivery::default() };
    handler.handle(event, &delivery).await
}

async fn noted(pool: &PgPool) -> Vec<(Uuid, Uuid, String)> {
    sqlx::query_as("SELECT event_id, order_id, message_id FROM deliveries JOIN inbox USING (event_id)")
        .fetch_all(pool)
        .await
        .unwrap()
}

#[tokio::test]
async fn an_order_is_confirmed_once_however_often_its_event_comes() {
    let (_database, pool) = database().await;
    let provider = Provider::calm().await;
    let handler = handler(&pool, provider.server());
    let event = order();
    for _ in 0..3 {
        assert_eq!(handle(&handler, &event).await, Answer::Ok);
    }
    let order_id = event.data.order_id;
    assert_eq!(provider.deliveries(order_id).await, (1, 0), "the inbox keeps the repeats from the provider");
    assert_eq!(noted(&pool).await, [(event.id, order_id, message_id(event.id))]);
}

#[tokio::test]
async fn a_mail_whose_answer_was_lost_is_sent_again_and_delivered_once() {
    let (_database, pool) = database().await;
    let provider = Provider::calm().await;
    let handler = handler(&pool, provider.server());
    let event = order();

    provider.set(json!({"lost_answer_rate": 1})).await;
    assert!(matches!(handle(&handler, &event).await, Answer::Unavailable(_)));
    assert_eq!(noted(&pool).await, [], "nobody knows whether it was taken");

    assert_eq!(handle(&handler, &event).await, Answer::Ok);
    assert_eq!(provider.deliveries(event.data.order_id).await, (1, 1));
    assert_eq!(noted(&pool).await.len(), 1);
}

#[tokio::test]
async fn twins_in_two_processes_are_one_delivery_and_one_row() {
    let (_database, pool) = database().await;
    let provider = Provider::calm().await;
    provider.set(json!({"latency_ms": 100})).await;
    let handlers = [handler(&pool, provider.server()), handler(&pool, provider.server())];
    let event = order();
    let (one, other) = tokio::join!(handle(&handlers[0], &event), handle(&handlers[1], &event));
    assert_eq!((one, other), (Answer::Ok, Answer::Ok));
    assert_eq!(provider.deliveries(event.data.order_id).await.0, 1);
    assert_eq!(noted(&pool).await.len(), 1);
}

#[tokio::test]
async fn each_answer_of_the_provider_leads_to_its_own_answer() {
    let (_database, pool) = database().await;
    for (at, answer, expected) in [
        (".\r\n", "451 4.3.0 later", Answer::Retry("the SMTP server answered 451".to_owned())),
        ("RCPT", "550 5.1.1 no such user", Answer::Poison("the SMTP server answered 550".to_owned())),
        (
            "greeting",
            "554 5.3.2 no service",
            Answer::Unavailable("no session with the SMTP server: it answered 554".to_owned()),
        ),
    ] {
        let handler = handler(&pool, server(scripted::server(at, answer).await));
        assert_eq!(handle(&handler, &order()).await, expected, "{answer}");
    }
    assert_eq!(noted(&pool).await, []);
}

#[tokio::test]
async fn an_address_that_is_none_is_poison_and_not_repeated_in_the_reason() {
    let (_database, pool) = database().await;
    let provider = Provider::calm().await;
    let handler = handler(&pool, provider.server());
    let answer = handle(&handler, &order_for("ann@example.com\r\nBcc: eve@example.com")).await;
    assert_eq!(answer, Answer::Poison("the e-mail address of the order is not valid".to_owned()));
}

#[tokio::test]
async fn without_the_database_no_mail_is_sent() {
    let provider = Provider::calm().await;
    let nowhere = format!("postgres://email:email@127.0.0.1:{}/email", testkit::free_port());
    let pool = persistence::pool::connect_lazy(&nowhere, 1, "test").unwrap();
    let handler = handler(&pool, provider.server());
    let event = order();
    assert!(matches!(handle(&handler, &event).await, Answer::Unavailable(_)));
    assert_eq!(provider.deliveries(event.data.order_id).await, (0, 0));
}

#[tokio::test]
async fn an_order_beyond_the_horizon_is_poison_and_no_mail_unless_an_operator_allows_it() {
    let (_database, pool) = database().await;
    let provider = Provider::calm().await;
    let handler = handler(&pool, provider.server());
    let event = order();
    sqlx::query("UPDATE inbox_horizon SET pruned_up_to = now()").execute(&pool).await.unwrap();
    let answer = handle(&handler, &event).await;
    assert!(
        matches!(&answer, Answer::Poison(reason) if reason.starts_with("beyond-horizon: ")),
        "{answer:?}"
    );
    assert_eq!(provider.deliveries(event.data.order_id).await, (0, 0));

    let allowed = Delivery { beyond_horizon: true, ..Delivery::default() };
    for _ in 0..2 {
        assert_eq!(handler.handle(&event, &allowed).await, Answer::Ok);
    }
    assert_eq!(provider.deliveries(event.data.order_id).await, (1, 0));
}
