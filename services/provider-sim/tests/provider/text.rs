//! Text messages over HTTP.

use reqwest::{Response, StatusCode};
use serde_json::{Value, json};

use crate::sim::Sim;

fn message(order_id: &str) -> Value {
    json!({"to": "+1234567890", "text": "We received your order", "order_id": order_id})
}

async fn send(sim: &Sim, key: Option<&str>, body: &Value) -> reqwest::Result<Response> {
    let request = reqwest::Client::new().post(sim.url("/sms")).json(body);
    let request = match key {
        Some(key) => request.header("Idempotency-Key", key),
        None => request,
    };
    request.send().await
}

#[tokio::test]
async fn a_text_message_is_delivered_once_and_every_repeat_gets_the_first_ones_id() {
    let sim = Sim::calm().await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        let response = send(&sim, Some("event-1"), &message("order-1")).await.unwrap();
        assert_eq!(response.status(), StatusCode::ACCEPTED);
        ids.push(response.json::<Value>().await.unwrap()["id"].as_str().unwrap().to_owned());
    }
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    assert_eq!(sim.deliveries("sms", "order-1").await, (1, 2));
}

#[tokio::test]
async fn messages_without_a_key_are_deliveries_of_their_own() {
    let sim = Sim::calm().await;
    for _ in 0..2 {
        send(&sim, None, &message("order-1")).await.unwrap();
    }
    assert_eq!(sim.deliveries("sms", "order-1").await, (2, 0));
}

#[tokio::test]
async fn twins_at_the_same_time_are_one_delivery() {
    let sim = Sim::calm().await;
    sim.set(json!({"sms": {"latency_ms": 100}})).await;
    let body = message("order-1");
    let twins = (0..8).map(|_| send(&sim, Some("event-1"), &body));
    for answer in futures::future::join_all(twins).await {
        assert_eq!(answer.unwrap().status(), StatusCode::ACCEPTED);
    }
    assert_eq!(sim.deliveries("sms", "order-1").await, (1, 7));
}

#[tokio::test]
async fn a_key_of_another_message_is_refused() {
    let sim = Sim::calm().await;
    send(&sim, Some("event-1"), &message("order-1")).await.unwrap();
    let response = send(&sim, Some("event-1"), &message("order-2")).await.unwrap();
    assert_eq!(response.status(), StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(sim.deliveries("sms", "order-2").await, (0, 0));
}

#[tokio::test]
async fn a_refusal_delivers_nothing_and_leaves_the_key_free() {
    let sim = Sim::calm().await;
    sim.set(json!({"sms": {"failure_rate": 1}})).await;
    let response = send(&sim, Some("event-1"), &message("order-1")).await.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    sim.set(json!({"sms": {"failure_rate": 0}})).await;
    send(&sim, Some("event-1"), &message("order-1")).await.unwrap();
    assert_eq!(sim.deliveries("sms", "order-1").await, (1, 0));
}

#[tokio::test]
async fn a_lost_answer_is_a_delivery_without_one_byte_of_an_answer() {
    let sim = Sim::calm().await;
    sim.set(json!({"sms": {"lost_answer_rate": 1}})).await;
    let error = send(&sim, Some("event-1"), &message("order-1")).await.unwrap_err();
    assert!(error.is_request(), "the request fails as a whole: {error:?}");
    assert_eq!(sim.deliveries("sms", "order-1").await, (1, 0));

    send(&sim, Some("event-1"), &message("order-1")).await.unwrap();
    assert_eq!(sim.deliveries("sms", "order-1").await, (1, 1));
    assert_eq!(
        sim.json("/api/deliveries").await["sms"],
        json!({"distinct": 1, "repeated": 1, "refused": 0, "lost_answers": 1, "in_progress": 0})
    );
}

#[tokio::test]
async fn bad_messages_are_refused_by_the_name_of_their_field() {
    let sim = Sim::calm().await;
    for (body, field) in [
        (json!({"to": "ann", "text": "a"}), "to"),
        (json!({"to": "+1234567890", "text": " "}), "text"),
        (json!({"to": "+1234567890", "text": "x".repeat(1_601)}), "text"),
        (json!({"to": "+1234567890", "text": "a", "order_id": "two words"}), "order_id"),
        (json!({"to": "+1234567890"}), "text"),
        (json!({"to": "+1234567890", "text": "a", "form": "b"}), "form"),
        (json!({"to": 1, "text": "a"}), "to"),
    ] {
        let response = send(&sim, Some("event-1"), &body).await.unwrap();
        let status = response.status();
        let problem: Value = response.json().await.unwrap();
        assert!(status.is_client_error(), "{body}: {status}");
        assert!(problem["error"].as_str().unwrap().contains(field), "{problem}");
    }
    let long = "k".repeat(256);
    let response = send(&sim, Some(&long), &message("order-1")).await.unwrap();
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    assert_eq!(sim.json("/api/deliveries").await["sms"]["distinct"], 0);
}
