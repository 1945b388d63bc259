//! The order flow when nothing goes wrong.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::{Value, json};
use testkit::{PATIENCE, eventually};
use uuid::Uuid;

use crate::audit::distinct;
use crate::system::{PROVIDERS, Running, system};
use crate::topics;

/// Orders between two looks at whether the load is still wanted.
const AT_ONCE: usize = 100;

async fn stock_of(system: &Running, product: i64) -> i64 {
    let answer = system.get("inventory-consumer", &format!("/api/stock/{product}")).await;
    answer["data"]["available"].as_i64().expect("a stock")
}

async fn counted_orders(system: &Running) -> (i64, f64) {
    let answer = system.get("analytics-consumer", "/api/analytics/orders?minutes=60").await;
    let data = &answer["data"];
    (data["orders"].as_i64().expect("orders"), data["revenue"].as_f64().expect("revenue"))
}

#[tokio::test]
async fn an_order_by_http_ends_as_one_email_one_text_stock_taken_and_a_count_under_the_callers_trace() {
    let system = system().await;
    let (stock_before, counted_before) = (stock_of(&system, 7).await, counted_orders(&system).await);
    let trace_id = Uuid::new_v4().simple().to_string();
    let traceparent = format!("00-{trace_id}-00f067aa0ba902b7-01");

    let items = json!([{ "product_id": 7, "quantity": 3 }]);
    let answer = system.shop.order_traced(items, &traceparent).await;
    let order_id = answer.order_id();
    assert_eq!(answer.body["success"], true, "{}", answer.body);
    assert_eq!(answer.body["status"], "pending", "{}", answer.body);
    let total = answer.body["total"].as_f64().expect("a total");

    let order = system.shop.get(&format!("/api/orders/{order_id}")).await;
    assert_eq!(order.status, 200);
    assert_eq!(order.body["data"]["trace_id"], trace_id, "{}", order.body);

    let deliveries = eventually("one e-mail and one text message", async || {
        let deliveries = system.get(PROVIDERS, &format!("/api/deliveries/{order_id}")).await;
        let counts = (distinct(&deliveries, "email"), distinct(&deliveries, "sms"));
        if counts == (1, 1) { Ok(deliveries) } else { Err(format!("{deliveries}")) }
    })
    .await;
    assert_eq!(deliveries["order_id"], order_id.to_string());

    eventually("three pieces taken off the stock", async || {
        let stock = stock_of(&system, 7).await;
        if stock == stock_before - 3 { Ok(()) } else { Err(format!("{stock}, before {stock_before}")) }
    })
    .await;
    let reservations = system.get("inventory-consumer", &format!("/api/reservations/{order_id}")).await;
    assert_eq!(
        reservations["data"]["lines"],
        json!([{ "product_id": 7, "quantity": 3, "outcome": "reserved" }]),
        "{reservations}"
    );

    eventually("the order in analytics", async || {
        let counted = counted_orders(&system).await;
        let expected = (counted_before.0 + 1, counted_before.1 + total);
        let same = counted.0 == expected.0 && (counted.1 - expected.1).abs() < 0.005;
        if same { Ok(()) } else { Err(format!("{counted:?} instead of {expected:?}")) }
    })
    .await;
    let top = system.get("analytics-consumer", "/api/analytics/products/top?limit=100").await;
    let products = top["data"].as_array().expect("a list of products");
    assert!(products.iter().any(|product: &Value| product["product_id"] == 7), "{top}");

    system.every_order_took_effect_once().await;
    // These two log each confirmation; the others add up in silence.
    for consumer in ["email-consumer", "sms-consumer"] {
        let log = system.service(consumer).log();
        assert!(log.contains(&trace_id), "{consumer} logged nothing under the caller's trace");
    }
}

#[tokio::test]
async fn events_that_are_published_a_second_time_change_nothing() {
    let system = system().await;
    let brokers = system.kafka_brokers();
    let orders = system.shop.accepted_orders(40).await;
    system.every_order_took_effect_once().await;

    let records = topics::records_of(brokers, &orders).await;
    assert_eq!(records.len(), orders.len());
    topics::send_again(brokers, &records).await;
    // Waits until the groups are through with the repeats as well.
    system.every_order_took_effect_once().await;
    for order in orders {
        let deliveries = system.get(PROVIDERS, &format!("/api/deliveries/{order}")).await;
        assert_eq!((distinct(&deliveries, "email"), distinct(&deliveries, "sms")), (1, 1));
    }
}

#[tokio::test]
async fn an_audit_of_a_healthy_system_under_load_finds_nothing_missing_doubled_out_of_order_or_waiting() {
    let system = system().await;
    let (audited, loaded) = (AtomicUsize::new(0), AtomicBool::new(false));
    // The load lasts until two audits have run beside it, however long they take.
    let load = async {
        let mut orders = Vec::new();
        while audited.load(Ordering::Relaxed) < 2 {
            orders.extend(system.shop.orders(AT_ONCE, 4, &AtomicUsize::new(0)).await);
        }
        loaded.store(true, Ordering::Relaxed);
        orders
    };
    let audits = async {
        while !loaded.load(Ordering::Relaxed) {
            let report = system.audit(PATIENCE).await;
            assert!(report.clean && report.stages.iter().all(|stage| stage.waiting == 0), "{report}");
            assert!(!report.notes.iter().any(|note| note.contains("when the wait was over")), "{report}");
            audited.fetch_add(1, Ordering::Relaxed);
        }
    };
    let (orders, ()) = tokio::join!(load, audits);
    let report = system.audit(PATIENCE).await;
    assert!(report.clean && report.accepted.orders >= orders.len() as u64, "{report}");
    system.were_accepted_and_applied(&orders).await;
}
