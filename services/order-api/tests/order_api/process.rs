//! The order API as the process that an operator starts.

use std::net::TcpListener;
use std::process::{Command, Output};
use std::time::Duration;

use reqwest::Client;
use serde_json::{Value, json};
use testkit::{Process, Servers};

use crate::shop::{Answer, PATIENT, Shop, order_for};

/// Runs the binary until it ends by itself.
fn run(settings: &[(&str, &str)]) -> (Option<i32>, String) {
    let Output { status, stderr, .. } =
        Command::new(env!("CARGO_BIN_EXE_order-api")).envs(settings.iter().copied()).output().unwrap();
    (status.code(), String::from_utf8(stderr).unwrap())
}

#[test]
fn a_wrong_setting_stops_it_with_one_line_that_names_the_setting_and_the_accepted_form() {
    for (name, value, form) in [
        ("ORDER_API_ADDR", "here", "an address and port such as 127.0.0.1:5001"),
        ("ORDERS_DATABASE_URL", "orders", "postgres://user:password@host:port/database"),
        ("REDIS_URL", "memcached://host", "redis://host:port or redis://user:password@host:port/number"),
        ("PRODUCT_CACHE_TTL", "300", "a whole number with a unit (ms, s, m, h or d) such as 250ms or 2s"),
        (
            "ORDER_API_IDEMPOTENCY_TTL",
            "10s",
            "a whole number with a unit (ms, s, m, h or d) from 1m to 720h such as 24h",
        ),
        (
            "ORDER_API_IDEMPOTENCY_TTL",
            "721h",
            "a whole number with a unit (ms, s, m, h or d) from 1m to 720h such as 24h",
        ),
        ("ORDER_API_WRITE_CONNECTIONS", "0", "a whole number from 1 to 100"),
        ("LOG_LEVEL", "order_api=loud", "a level (error, warn, info, debug, trace) or target=level pairs"),
    ] {
        let (code, line) = run(&[
            (name, value),
            ("ORDER_API_ADDR", if name == "ORDER_API_ADDR" { value } else { "127.0.0.1:0" }),
        ]);
        assert_eq!((code, line), (Some(2), format!("{name}='{value}' is not valid: expected {form}\n")));
    }
}

#[test]
fn a_taken_port_stops_it_with_one_line() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (code, line) = run(&[("ORDER_API_ADDR", &address)]);
    assert_eq!(code, Some(1));
    assert!(line.contains(&address) && line.contains("another process holds this port"), "{line}");
    assert_eq!(line.lines().count(), 1, "{line}");
}

#[tokio::test]
async fn a_shop_that_says_it_is_ready_has_all_its_connections_open_so_that_no_caller_waits_for_a_login() {
    let servers = Servers::shared().await;
    let database = servers.database("orders").await;
    let observer = database.pool().await;
    let shop = Shop::open_at(database.url(), &servers.redis_database().await, PATIENT).await;
    shop.ready().await;
    let open: Vec<(String, i64)> = sqlx::query_as(
        "SELECT application_name, count(*) FROM pg_stat_activity
         WHERE datname = current_database() AND application_name IN ('order-api read', 'order-api write') GROUP BY 1 ORDER BY 1",
    )
    .fetch_all(&observer)
    .await
    .unwrap();
    assert_eq!(open, [("order-api read".to_owned(), 4), ("order-api write".to_owned(), 5)]);
    shop.close().await;
}

#[tokio::test]
async fn a_callers_trace_is_kept_with_the_order_and_its_event_and_every_log_line_is_json_without_contacts() {
    let servers = Servers::shared().await;
    let (database, redis) = (servers.database("orders").await, servers.redis_database().await);
    let settings = [("ORDERS_DATABASE_URL", database.url()), ("REDIS_URL", redis.as_str())];
    let mut process = Process::spawn("order-api", &settings).await;
    let trace_id = "0af7651916cd43dd8448eb211c80319c";
    let order = async |traceparent: Option<&str>| {
        let body = order_for(json!([{ "product_id": 1, "quantity": 1 }]));
        let mut request =
            Client::new().post(process.url("/api/order")).json(&body).header("x-request-id", "my-request");
        if let Some(traceparent) = traceparent {
            request = request.header("traceparent", traceparent);
        }
        Answer::read(request.send().await.unwrap()).await.order_id()
    };
    let traced = order(Some(&format!("00-{trace_id}-b7ad6b7169203331-01"))).await;
    let untraced = order(None).await;
    order(Some("nonsense")).await;

    let stored: Vec<(String, String)> = sqlx::query_as(
        "SELECT orders.trace_id, outbox.traceparent FROM orders JOIN outbox ON aggregate_id = orders.id ORDER BY outbox.id",
    )
    .fetch_all(&database.pool().await)
    .await
    .unwrap();
    assert_eq!(stored.len(), 3);
    for (trace_id, traceparent) in &stored {
        assert!(
            trace_id.len() == 32 && traceparent.len() == 55 && traceparent[3..35] == *trace_id,
            "{traceparent}"
        );
    }
    assert_eq!(stored[0].0, trace_id);
    assert!(stored[1].0 != trace_id && stored[1].0 != stored[2].0);
    for (id, (trace_id, _)) in [(&traced, &stored[0]), (&untraced, &stored[1])] {
        let read = Answer::read(reqwest::get(process.url(&format!("/api/orders/{id}"))).await.unwrap()).await;
        assert_eq!(read.body["data"]["trace_id"], trace_id.as_str());
    }

    assert!(
        process.terminate_within(Duration::from_secs(15)).await.success(),
        "an orderly stop is no failure"
    );
    let log = process.log();
    assert!(!log.contains("example.com") && !log.contains("1234567890"), "{log}");
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}")))
        .collect();
    assert!(lines.iter().all(|line| line["service_name"] == "order-api"), "{log}");
    let accepted = lines.iter().find(|line| line["message"] == "order accepted").unwrap();
    assert_eq!((&accepted["trace_id"], &accepted["request_id"]), (&json!(trace_id), &json!("my-request")));
    assert_eq!(accepted["order.id"], traced.as_str());
}
