use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::Request;
use serde_json::Value;
use tower::ServiceExt;

use super::*;

async fn ask(health: &Health, path: &str) -> (u16, Value) {
    let request = Request::get(path).body(Body::empty()).unwrap();
    let router = crate::http::harden(
        health.routes(),
        crate::http::Limits::default(),
        &telemetry::metrics::Metrics::new(),
    );
    let response = router.oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    (status, serde_json::from_slice(&body).unwrap())
}

async fn up() -> Result<(), String> {
    Ok(())
}

async fn down() -> Result<(), String> {
    Err("connection refused".to_owned())
}

#[tokio::test]
async fn a_process_whose_dependencies_answer_is_healthy_and_ready() {
    let health = Health::builder("test").required("postgres", up).optional("redis", up).build();
    let (status, body) = ask(&health, "/health").await;
    assert_eq!((status, &body["status"], &body["success"]), (200, &json!("healthy"), &json!(true)));
    assert_eq!(body["checks"]["postgres"]["status"], "up");
    assert!(body["uptime_seconds"].is_f64() && body["timestamp"].is_string());
    for member in ["used_bytes", "total_bytes", "percent"] {
        assert!(body["memory"][member].as_f64().unwrap() > 0.0, "{body}");
    }
    assert!(body["cpu"]["percent"].is_f64());
    assert_eq!(ask(&health, "/health/ready").await.0, 200);
    assert_eq!(ask(&health, "/health/live").await.0, 200);
}

#[tokio::test]
async fn without_an_optional_dependency_it_is_degraded_and_ready() {
    let health = Health::builder("test").required("postgres", up).optional("redis", down).build();
    let (status, body) = ask(&health, "/health").await;
    assert_eq!((status, &body["status"]), (200, &json!("degraded")));
    assert_eq!(body["checks"]["redis"]["detail"], "connection refused");
    assert_eq!(ask(&health, "/health/ready").await.0, 200);
}

#[tokio::test]
async fn without_a_required_dependency_it_is_unhealthy_not_ready_and_alive() {
    let health = Health::builder("test").required("postgres", down).build();
    let (status, body) = ask(&health, "/health").await;
    assert_eq!((status, &body["status"], &body["success"]), (503, &json!("unhealthy"), &json!(false)));
    assert_eq!(body["error"], "test is unhealthy: postgres: connection refused");
    assert!(body["memory"].is_object() && body["title"] == "Service Unavailable");
    let (status, body) = ask(&health, "/health/ready").await;
    assert_eq!((status, &body["error"]), (503, &json!("not ready: postgres: connection refused")));
    assert_eq!(ask(&health, "/health/live").await.0, 200);
}

#[tokio::test]
async fn a_process_that_still_starts_is_alive_and_not_ready() {
    let health = Health::builder("test").required("postgres", up).not_ready_yet().build();
    assert_eq!(ask(&health, "/health/live").await.0, 200);
    assert_eq!(ask(&health, "/health/ready").await.0, 503);
    health.set_ready(true);
    assert_eq!(ask(&health, "/health/ready").await.0, 200);
}

#[tokio::test]
async fn a_stuck_part_shows_in_live_and_in_health() {
    let health = Health::builder("test").live("consumer", || false).build();
    let (status, body) = ask(&health, "/health/live").await;
    assert_eq!((status, &body["error"]), (503, &json!("stuck: consumer")));
    assert_eq!(ask(&health, "/health").await.0, 503);
}

#[tokio::test(start_paused = true)]
async fn a_dependency_that_hangs_counts_as_away_and_does_not_hold_the_others_up() {
    let hang = || async {
        tokio::time::sleep(Duration::from_secs(3600)).await;
        Ok(())
    };
    let health = Health::builder("test")
        .required("postgres", up)
        .optional("redis", hang)
        .optional("kafka", hang)
        .build();
    let started = tokio::time::Instant::now();
    let (status, body) = ask(&health, "/health").await;
    assert_eq!((status, &body["status"]), (200, &json!("degraded")));
    assert_eq!(body["checks"]["redis"]["detail"], "no answer within 1s");
    // Of the paused clock.
    assert!(started.elapsed() < Duration::from_millis(1900), "checks run side by side");
}

#[tokio::test]
async fn many_questions_at_once_are_one_question_to_the_dependency() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = asked.clone();
    let health = Health::builder("test")
        .required("postgres", move || {
            counter.fetch_add(1, Ordering::Relaxed);
            up()
        })
        .build();
    futures::future::join_all((0..50).map(|_| ask(&health, "/health"))).await;
    assert!(asked.load(Ordering::Relaxed) < 5);
}

#[tokio::test]
async fn info_names_the_build_and_the_start() {
    let health = Health::builder("test").build();
    let (status, body) = ask(&health, "/info").await;
    assert_eq!((status, &body["name"], &body["version"]), (200, &json!("test"), &json!("0.1.0")));
    assert!(body["commit"].is_string() && body["started_at"].is_string());
}
