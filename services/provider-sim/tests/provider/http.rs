//! Settings, counts, the page and the health routes.

use lettre::AsyncTransport;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::sim::{Sim, mail};

#[tokio::test]
async fn the_settings_start_with_the_demos_values_and_change_one_by_one() {
    let sim = Sim::with(Default::default()).await;
    assert_eq!(
        sim.json("/api/settings").await,
        json!({
            "email": {"latency_ms": 200, "failure_rate": 0.05, "lost_answer_rate": 0.0},
            "sms": {"latency_ms": 300, "failure_rate": 0.05, "lost_answer_rate": 0.0},
        })
    );
    sim.set(json!({"sms": {"failure_rate": 0.5}})).await;
    let settings = sim.json("/api/settings").await;
    assert_eq!(settings["sms"], json!({"latency_ms": 300, "failure_rate": 0.5, "lost_answer_rate": 0.0}));
    assert_eq!(settings["email"]["failure_rate"], 0.05);
}

#[tokio::test]
async fn a_bad_setting_is_refused_by_name_and_changes_nothing() {
    let sim = Sim::with(Default::default()).await;
    let before = sim.json("/api/settings").await;
    for (body, field) in [
        (json!({"email": {"failure_rate": 1.1}}), "email.failure_rate"),
        (json!({"email": {"failure_rate": -0.1}}), "email.failure_rate"),
        (json!({"sms": {"lost_answer_rate": 2}}), "sms.lost_answer_rate"),
        (json!({"sms": {"latency_ms": 60_001}}), "sms.latency_ms"),
        (json!({"sms": {"latency_ms": -1}}), "sms.latency_ms"),
        (json!({"sms": {"latency_ms": 0.5}}), "sms.latency_ms"),
        (json!({"sms": {"latency_ms": "1"}}), "sms.latency_ms"),
        (json!({"sms": {"latency": 1}}), "latency"),
        (json!({"fax": {}}), "fax"),
        (json!({"email": {"latency_ms": 1}, "sms": {"failure_rate": 7}}), "sms.failure_rate"),
    ] {
        let response = reqwest::Client::new().put(sim.url("/api/settings")).json(&body).send().await.unwrap();
        let status = response.status();
        let problem: Value = response.json().await.unwrap();
        assert!(status.is_client_error(), "{body}: {status}");
        assert!(problem.to_string().contains(field), "{body}: {problem}");
        assert_eq!(problem["success"], false, "{problem}");
    }
    assert_eq!(sim.json("/api/settings").await, before);
}

#[tokio::test]
async fn an_order_nobody_wrote_about_has_zeros() {
    let sim = Sim::calm().await;
    let zeros = json!({"distinct": 0, "repeated": 0});
    assert_eq!(
        sim.json("/api/deliveries/unknown").await,
        json!({"order_id": "unknown", "email": zeros, "sms": zeros})
    );
}

#[tokio::test]
async fn the_page_shows_the_latest_messages_as_text_and_no_address() {
    let sim = Sim::calm().await;
    let page = reqwest::get(sim.url("/")).await.unwrap().text().await.unwrap();
    assert!(page.contains("No message yet"), "{page}");

    sim.mailer().send(mail(Some("event-1"), "order-1", "<script>alert(1)</script>")).await.unwrap();
    let response = reqwest::get(sim.url("/")).await.unwrap();
    assert!(response.headers()["content-type"].to_str().unwrap().starts_with("text/html"));
    let page = response.text().await.unwrap();
    assert!(page.contains("We received your order"), "{page}");
    assert!(page.contains("order-1") && page.contains("a***@example.com"), "{page}");
    assert!(page.contains("&lt;script&gt;") && !page.contains("<script>"), "{page}");
    assert!(!page.contains("ann@example.com"), "{page}");
}

#[tokio::test]
async fn health_routes_answer_and_unknown_paths_are_problems() {
    let sim = Sim::calm().await;
    for path in ["/health", "/health/live", "/health/ready", "/info"] {
        let response = reqwest::get(sim.url(path)).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{path}");
    }
    let response = reqwest::get(sim.url("/nowhere")).await.unwrap();
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
    assert_eq!(response.json::<Value>().await.unwrap()["success"], false);
}
