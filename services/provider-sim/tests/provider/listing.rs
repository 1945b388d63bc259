//! The listing of the journal.

use lettre::AsyncTransport;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::sim::{Sim, mail};

async fn mail_twice_and_text_once(sim: &Sim) {
    for _ in 0..2 {
        sim.mailer().send(mail(Some("event-1"), "order-1", "Thank you")).await.unwrap();
    }
    let body = json!({"to": "+1234567890", "text": "Thank you", "order_id": "order-1"});
    let request =
        reqwest::Client::new().post(sim.url("/sms")).header("Idempotency-Key", "event-1").json(&body);
    assert_eq!(request.send().await.unwrap().status(), StatusCode::ACCEPTED);
}

/// Everything but the time.
fn decisions(page: &Value) -> Vec<Value> {
    let entries = page["entries"].as_array().unwrap().iter();
    entries
        .map(|entry| json!([entry["channel"], entry["outcome"], entry["key"], entry["order_id"]]))
        .collect()
}

#[tokio::test]
async fn every_decision_is_listed_with_its_key_and_its_order_in_pages_of_any_size() {
    let sim = Sim::calm().await;
    mail_twice_and_text_once(&sim).await;
    let expected = [
        json!(["email", "taken", "<event-1@orderflow>", "order-1"]),
        json!(["email", "repeated", "<event-1@orderflow>", "order-1"]),
        json!(["sms", "taken", "event-1", "order-1"]),
    ];

    let whole = sim.json("/api/journal").await;
    assert_eq!(decisions(&whole), expected);
    assert_eq!(whole["next"], whole["end"], "{whole}");

    let (mut after, mut found) = (0, Vec::new());
    while after < whole["end"].as_u64().unwrap() {
        let page = sim.json(&format!("/api/journal?after={after}&limit=1")).await;
        found.extend(decisions(&page));
        after = page["next"].as_u64().unwrap();
    }
    assert_eq!(found, expected);
    assert!(!whole.to_string().contains("example.com"), "{whole}");
}

#[tokio::test]
async fn an_empty_journal_is_an_empty_page() {
    let sim = Sim::calm().await;
    assert_eq!(sim.json("/api/journal").await, json!({"entries": [], "next": 0, "end": 0}));
}

#[tokio::test]
async fn a_place_where_no_line_begins_and_a_limit_that_is_none_are_refused_by_name() {
    let sim = Sim::calm().await;
    mail_twice_and_text_once(&sim).await;
    for (query, name) in [
        ("after=1", "after"),
        ("after=999999", "after"),
        ("after=-1", "after"),
        ("limit=0", "limit"),
        ("limit=10001", "limit"),
        ("limit=many", "limit"),
    ] {
        let response = reqwest::get(sim.url(&format!("/api/journal?{query}"))).await.unwrap();
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{query}");
        let problem: Value = response.json().await.unwrap();
        assert!(problem["error"].as_str().unwrap().starts_with(name), "{problem}");
    }
}
