use std::io;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::Path;
use axum::routing::{get, post};
use serde_json::Value;
use tower::ServiceExt;

use super::*;
use crate::http::Json;

const LIMITS: Limits = Limits {
    body_bytes: 64,
    body_time: Duration::from_millis(100),
    request_time: Duration::from_millis(300),
};

fn router() -> Router {
    let router = Router::new()
        .route("/order", post(|Json(body): Json<Value>| async move { body.to_string() }))
        .route("/raw", post(|body: Bytes| async move { body.len().to_string() }))
        .route("/number/{id}", get(|Path(id): Path<i32>| async move { id.to_string() }))
        .route("/panic", get(async || -> String { panic!("on purpose") }))
        .route("/hang", get(async || std::future::pending::<String>().await))
        .route("/leak", get(async || (StatusCode::INTERNAL_SERVER_ERROR, "password=secret")))
        .route("/trace", get(async || telemetry::current_traceparent().unwrap_or_default()))
        .route("/refuse", get(async || Problem::new(StatusCode::CONFLICT, "taken").with("order_id", "o-1")));
    harden(router, LIMITS, &Metrics::new())
}

async fn send(request: Request) -> Response {
    router().oneshot(request).await.unwrap()
}

async fn text(response: Response) -> String {
    String::from_utf8(to_bytes(response.into_body(), usize::MAX).await.unwrap().to_vec()).unwrap()
}

/// Checks that the answer is a problem in every respect, and returns its body.
async fn problem(request: Request, status: u16) -> Value {
    let response = send(request).await;
    assert_eq!(response.status().as_u16(), status);
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json");
    let id = response.headers()[REQUEST_ID].to_str().unwrap().to_owned();
    let body: Value = serde_json::from_str(&text(response).await).unwrap();
    assert_eq!((&body["success"], &body["status"]), (&false.into(), &status.into()));
    assert_eq!(body["request_id"], id.as_str());
    for member in ["error", "type", "title", "detail"] {
        assert!(body[member].as_str().is_some_and(|text| !text.is_empty()), "{member} in {body}");
    }
    body
}

fn get_request(path: &str) -> Request {
    Request::get(path).body(Body::empty()).unwrap()
}

fn post_request(path: &str, body: impl Into<Body>) -> Request {
    Request::post(path).header(header::CONTENT_TYPE, "application/json").body(body.into()).unwrap()
}

/// A body whose first half arrives.
fn half_a_body() -> Body {
    use futures::StreamExt;
    let half = futures::stream::iter([Ok::<_, io::Error>(Bytes::from_static(b"{\"user_id\":"))]);
    Body::from_stream(half.chain(futures::stream::pending()))
}

#[tokio::test]
async fn an_unknown_path_is_a_problem() {
    assert_eq!(problem(get_request("/nothing"), 404).await["error"], "There is nothing at this path");
    problem(Request::builder().method("OPTIONS").uri("*").body(Body::empty()).unwrap(), 404).await;
}

#[tokio::test]
async fn a_wrong_method_is_a_problem_and_names_the_right_ones() {
    problem(get_request("/order"), 405).await;
    assert_eq!(send(get_request("/order")).await.headers()[header::ALLOW], "POST");
}

#[tokio::test]
async fn too_large_a_body_is_a_problem_announced_or_not() {
    let large = "x".repeat(65);
    problem(post_request("/order", large.clone()), 413).await;
    problem(post_request("/raw", large.clone()), 413).await;
    let unannounced = futures::stream::iter([Ok::<_, io::Error>(Bytes::from(large))]);
    problem(post_request("/order", Body::from_stream(unannounced)), 413).await;
    let mut announced = post_request("/nothing", "");
    announced.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from_static("1000000"));
    let response = send(announced).await;
    assert_eq!(
        (response.status().as_u16(), &response.headers()[header::CONNECTION]),
        (413, &HeaderValue::from_static("close"))
    );
}

#[tokio::test]
async fn another_content_type_is_a_problem() {
    for content_type in [None, Some("text/plain"), Some("application/x-www-form-urlencoded"), Some("json")] {
        let mut request = Request::post("/order").body(Body::from("{}")).unwrap();
        if let Some(content_type) = content_type {
            request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        }
        assert_eq!(problem(request, 415).await["title"], "Unsupported Media Type");
    }
}

#[tokio::test]
async fn a_body_that_stops_half_way_is_answered_408() {
    problem(post_request("/order", half_a_body()), 408).await;
    problem(post_request("/raw", half_a_body()), 408).await;
}

#[tokio::test]
async fn a_handler_that_hangs_is_answered_504() {
    problem(get_request("/hang"), 504).await;
    problem(post_request("/hang", "").map(|_| Body::empty()), 405).await;
}

#[tokio::test]
async fn a_panic_is_a_problem_that_says_nothing_about_it() {
    let body = problem(get_request("/panic"), 500).await;
    assert!(!body.to_string().contains("on purpose"), "{body}");
}

#[tokio::test]
async fn the_text_of_an_unforeseen_500_does_not_leave() {
    let body = problem(get_request("/leak"), 500).await;
    assert!(!body.to_string().contains("secret"), "{body}");
}

#[tokio::test]
async fn a_refusal_by_an_extractor_keeps_its_reason() {
    let body = problem(get_request("/number/seven"), 400).await;
    assert!(body["error"].as_str().unwrap().contains("seven"), "{body}");
}

#[tokio::test]
async fn a_problem_of_a_handler_keeps_its_members() {
    let body = problem(get_request("/refuse"), 409).await;
    assert_eq!((&body["error"], &body["order_id"]), (&"taken".into(), &"o-1".into()));
}

#[tokio::test]
async fn a_caller_that_asks_for_problem_json_gets_it() {
    for (accept, expected) in [
        ("application/problem+json", "application/problem+json"),
        ("text/html, Application/Problem+JSON;q=0.9", "application/problem+json"),
        ("application/problem+json;q=0, application/json", "application/json"),
        ("application/json", "application/json"),
        ("*/*", "application/json"),
    ] {
        for path in ["/nothing", "/refuse", "/panic"] {
            let request = Request::get(path).header(header::ACCEPT, accept).body(Body::empty()).unwrap();
            assert_eq!(send(request).await.headers()[header::CONTENT_TYPE], expected, "{accept} {path}");
        }
    }
}

#[tokio::test]
async fn a_sane_request_id_is_echoed_and_another_one_replaced() {
    let ask = async |id: &str| {
        let request = Request::get("/number/1").header(REQUEST_ID, id).body(Body::empty()).unwrap();
        send(request).await.headers()[REQUEST_ID].to_str().unwrap().to_owned()
    };
    assert_eq!(ask("abc-123_x.y:z").await, "abc-123_x.y:z");
    for wild in ["", "a b", "\"quoted\"", &"x".repeat(129)] {
        assert!(Uuid::parse_str(&ask(wild).await).is_ok(), "{wild}");
    }
}

#[tokio::test]
async fn the_callers_trace_is_continued_and_another_one_is_started_without() {
    telemetry::init("test").unwrap();
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let request = Request::get("/trace").header(TRACEPARENT, parent).body(Body::empty()).unwrap();
    let continued = text(send(request).await).await;
    assert!(
        continued.starts_with("00-0af7651916cd43dd8448eb211c80319c-") && continued != parent,
        "{continued}"
    );
    let (first, second) =
        (text(send(get_request("/trace")).await).await, text(send(get_request("/trace")).await).await);
    assert!(first.len() == 55 && second.len() == 55 && first[3..35] != second[3..35], "{first} {second}");
}
