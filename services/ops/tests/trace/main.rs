//! `ops trace` on the orders database, beside a Jaeger that says what the test wants.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::{Command, Output};

use serde_json::Value;
use testkit::{Servers, TestDatabase};
use uuid::Uuid;
use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const UNKNOWN: &str = r#"{"data":null,"errors":[{"code":404,"msg":"trace not found"}]}"#;
const ORDER: &str = include_str!("../../src/trace/sample/order.json");
/// With the id of its trace.
const BATCHES: [(&str, &str); 2] = [
    ("2c1f6d0b8a3e4f5d9b7c6a5e4d3c2b1a", include_str!("../../src/trace/sample/inventory_batch.json")),
    ("3d2e7c1b9f4a5e6c8d7b6a5f4e3d2c1b", include_str!("../../src/trace/sample/analytics_batch.json")),
];

struct Fixture {
    database: TestDatabase,
    jaeger: MockServer,
}

impl Fixture {
    /// A Jaeger that knows the sample, which lacks one span.
    async fn new() -> Self {
        let database = Servers::shared().await.database("orders").await.migrated().await;
        let jaeger = MockServer::start().await;
        for (trace, spans) in BATCHES.into_iter().chain([(TRACE, ORDER)]) {
            let answer = ResponseTemplate::new(200).set_body_raw(spans, "application/json");
            let asked = Mock::given(method("GET")).and(path(format!("/api/traces/{trace}")));
            asked.respond_with(answer).mount(&jaeger).await;
        }
        let unknown = ResponseTemplate::new(404).set_body_string(UNKNOWN);
        Mock::given(method("GET")).respond_with(unknown).with_priority(250).mount(&jaeger).await;
        Self { database, jaeger }
    }

    async fn order(&self, trace: Option<&str>) -> String {
        let id = Uuid::now_v7();
        sqlx::query(
            "INSERT INTO orders (id, user_id, email, phone, total_cents, trace_id) VALUES ($1, 1, 'a@example.com', '+10000000000', 1, $2)",
        )
        .bind(id)
        .bind(trace)
        .execute(&self.database.pool().await)
        .await
        .unwrap();
        id.to_string()
    }

    async fn ops(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ops"));
        command.arg("trace").args(arguments).env("ORDERS_DATABASE_URL", self.database.url());
        command.env("JAEGER_URL", self.jaeger.uri()).env("COLUMNS", "100");
        let Output { status, stdout, stderr } =
            tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (status.code(), text(stdout), text(stderr))
    }
}

#[tokio::test]
async fn the_trace_of_an_order_is_found_and_printed_without_colours_where_nobody_sees_them() {
    let fixture = Fixture::new().await;
    let order = fixture.order(Some(TRACE)).await;
    let (status, page, errors) = fixture.ops(&[&order]).await;
    assert_eq!((status, errors.as_str()), (Some(0), ""), "{page}");
    let first = page.lines().next();
    assert_eq!(first, Some(format!("order {order}  trace {TRACE}").as_str()));
    assert!(page.contains(&format!("{}/trace/{TRACE}\n", fixture.jaeger.uri())), "{page}");
    let sample = include_str!("../../src/trace/sample/page.txt");
    let tree = |page: &str| page.lines().skip(3).map(|line| line.to_owned() + "\n").collect::<String>();
    assert_eq!(tree(&page), tree(sample));

    let (status, by_trace, _) = fixture.ops(&[&TRACE.to_uppercase()]).await;
    assert_eq!((status, tree(&by_trace)), (Some(0), tree(sample)));
}

#[tokio::test]
async fn whoever_waits_for_what_does_not_come_gets_what_is_there_and_exit_status_1() {
    let fixture = Fixture::new().await;
    let order = fixture.order(Some(TRACE)).await;
    let (status, page, _) = fixture.ops(&[&order, "--wait=600ms"]).await;
    assert_eq!(status, Some(1), "{page}");
    assert!(page.ends_with("not complete yet: missing a parent span (00000000000000dd)\n"), "{page}");

    let (status, json, verdict) = fixture.ops(&[&order, "--wait=600ms", "--json"]).await;
    let spans: Vec<Value> = serde_json::from_str(&json).unwrap();
    assert_eq!((status, spans.len()), (Some(1), 35), "{verdict}");
    assert!(verdict.starts_with("not complete yet"), "{verdict}");
}

#[tokio::test]
async fn an_order_that_cannot_be_traced_is_told_why() {
    let fixture = Fixture::new().await;
    let refused = async |arguments: &[&str], expected: i32| {
        let (status, page, error) = fixture.ops(arguments).await;
        assert_eq!((status, page.as_str()), (Some(expected), ""), "{error}");
        error
    };
    let stranger = Uuid::now_v7().to_string();
    let unknown = refused(&[&stranger], 1).await;
    assert!(unknown.contains(&format!("order {stranger} is unknown")), "{unknown}");
    let untraced = refused(&[&fixture.order(None).await], 1).await;
    assert!(untraced.contains("has no trace"), "{untraced}");
    let broken = refused(&[&fixture.order(Some("../x")).await], 1).await;
    assert!(broken.contains("no usable trace id"), "{broken}");
    let elsewhere = refused(&[&fixture.order(Some(&"7".repeat(32))).await], 1).await;
    assert!(
        elsewhere.contains("is not in Jaeger at") && elsewhere.contains("OTEL_TRACES_SAMPLER_ARG"),
        "{elsewhere}"
    );
    let wrong = refused(&["17"], 2).await;
    assert!(wrong.contains("expected an order id"), "{wrong}");
    let away = refused(&[TRACE, "--jaeger", "http://127.0.0.1:1"], 1).await;
    assert!(
        away.contains("does not answer at http://127.0.0.1:1") && away.contains("./dev jaeger"),
        "{away}"
    );
}
