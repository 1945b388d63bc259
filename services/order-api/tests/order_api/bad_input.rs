//! Whatever a client sends: it gets an answer that names what is wrong, nothing is written, and nobody else notices.

use std::cell::Cell;

use reqwest::Method;
use serde_json::{Value, json};
use testkit::PATIENCE;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::shop::{Answer, Shop, order_for, rows};

/// Name of the case, body, status, fields named.
type Case = (&'static str, String, u16, &'static [&'static str]);

fn with(field: &str, value: Value) -> String {
    let mut body = order_for(json!([{ "product_id": 1, "quantity": 1 }]));
    body[field] = value;
    body.to_string()
}

fn with_item(item: Value) -> String {
    order_for(json!([item])).to_string()
}

fn without(field: &str) -> String {
    let mut body = order_for(json!([{ "product_id": 1, "quantity": 1 }]));
    body.as_object_mut().unwrap().remove(field);
    body.to_string()
}

fn lines(count: usize) -> Value {
    (0..count).map(|_| json!({ "product_id": 1, "quantity": 1 })).collect()
}

fn cases() -> Vec<Case> {
    let line = r#""items":[{"product_id":1,"quantity":1}]"#;
    let person = r#""user_id":1,"email":"a@b.cc","phone":"+1234567""#;
    vec![
        ("no body", String::new(), 400, &[]),
        ("no JSON", "order please".into(), 400, &[]),
        ("half an object", r#"{"user_id":1,"#.into(), 400, &[]),
        ("two objects", format!("{{{person},{line}}}{{}}"), 400, &[]),
        ("no object", r#"[1,"a@b.cc","+1234567",[[1,1]],null]"#.into(), 400, &[]),
        ("null", "null".into(), 400, &[]),
        ("NaN", with("user_id", json!(777)).replace("777", "NaN"), 400, &[]),
        ("no UTF-8 escape", format!(r#"{{{person},"x":"\ud800",{line}}}"#), 400, &["x"]),
        (
            "deep nesting",
            format!(r#"{{{person},"items":{}{}}}"#, "[".repeat(20_000), "]".repeat(20_000)),
            400,
            &["items[0]"],
        ),
        ("deep nesting, unclosed", "[".repeat(60_000), 400, &[]),
        ("unknown field", with("admin", json!(true)), 400, &["admin"]),
        (
            "unknown field in a line",
            with_item(json!({ "product_id": 1, "quantity": 1, "free": true })),
            400,
            &["items[0].free"],
        ),
        ("doubled field", format!(r#"{{{person},"user_id":2,{line}}}"#), 400, &["user_id"]),
        (
            "doubled field in a line",
            format!(r#"{{{person},"items":[{{"product_id":1,"quantity":1,"quantity":2}}]}}"#),
            400,
            &["items[0].quantity"],
        ),
        ("no user", without("user_id"), 400, &["user_id"]),
        ("no e-mail", without("email"), 400, &["email"]),
        ("no phone", without("phone"), 400, &["phone"]),
        ("no items", without("items"), 400, &["items"]),
        ("user as text", with("user_id", json!("123")), 400, &["user_id"]),
        ("user as fraction", with("user_id", json!(1.5)), 400, &["user_id"]),
        ("user beyond numbers", with("user_id", json!(u64::MAX)), 400, &["user_id"]),
        ("user zero", with("user_id", json!(0)), 422, &["user_id"]),
        ("e-mail as number", with("email", json!(1)), 400, &["email"]),
        ("e-mail null", with("email", Value::Null), 400, &["email"]),
        ("e-mail empty", with("email", json!("")), 422, &["email"]),
        ("e-mail without @", with("email", json!("user")), 422, &["email"]),
        (
            "e-mail with line break",
            with("email", json!("user@example.com\r\nBcc: all@example.com")),
            422,
            &["email"],
        ),
        ("e-mail with line end", with("email", json!("user@example.com\n")), 422, &["email"]),
        ("e-mail with NUL", with("email", json!("user@example.com\0")), 422, &["email"]),
        (
            "e-mail over-long",
            with("email", json!(format!("{}@example.com", "a".repeat(5_000)))),
            422,
            &["email"],
        ),
        ("phone as words", with("phone", json!("call me")), 422, &["phone"]),
        ("phone too short", with("phone", json!("+123")), 422, &["phone"]),
        ("phone with line break", with("phone", json!("+1234567890\n")), 422, &["phone"]),
        ("phone as number", with("phone", json!(1234567890)), 400, &["phone"]),
        ("items as object", with("items", json!({})), 400, &["items"]),
        ("items empty", with("items", json!([])), 422, &["items"]),
        ("items over-long", with("items", lines(101)), 422, &["items"]),
        ("items far too long", with("items", lines(1_500)), 422, &["items"]),
        ("line as array", with_item(json!([1, 1])), 400, &["items[0]"]),
        ("line as text", with_item(json!("1x1")), 400, &["items[0]"]),
        (
            "unknown product",
            with_item(json!({ "product_id": 101, "quantity": 1 })),
            422,
            &["items[0].product_id"],
        ),
        ("product zero", with_item(json!({ "product_id": 0, "quantity": 1 })), 422, &["items[0].product_id"]),
        (
            "product beyond all",
            with_item(json!({ "product_id": i64::MAX, "quantity": 1 })),
            422,
            &["items[0].product_id"],
        ),
        (
            "product as text",
            with_item(json!({ "product_id": "1", "quantity": 1 })),
            400,
            &["items[0].product_id"],
        ),
        ("quantity zero", with_item(json!({ "product_id": 1, "quantity": 0 })), 422, &["items[0].quantity"]),
        (
            "quantity negative",
            with_item(json!({ "product_id": 1, "quantity": -1 })),
            422,
            &["items[0].quantity"],
        ),
        (
            "quantity huge",
            with_item(json!({ "product_id": 1, "quantity": 1_000_000_000_000_i64 })),
            422,
            &["items[0].quantity"],
        ),
        (
            "quantity beyond numbers",
            with_item(json!({ "product_id": 1, "quantity": 1e300 })),
            400,
            &["items[0].quantity"],
        ),
        ("quantity missing", with_item(json!({ "product_id": 1 })), 400, &["items[0].quantity"]),
        (
            "quantity huge by repetition",
            with("items", json!([{ "product_id": 1, "quantity": 999 }, { "product_id": 1, "quantity": 2 }])),
            422,
            &["items[1].quantity"],
        ),
        (
            "price as text",
            with_item(json!({ "product_id": 1, "quantity": 1, "price": "free" })),
            400,
            &["items[0].price"],
        ),
        ("total as text", with("total", json!("0")), 400, &["total"]),
        (
            "several faults",
            with("email", json!("x")).replace("+1234567890", "y").replace("\"quantity\":1", "\"quantity\":0"),
            422,
            &["email", "phone", "items[0].quantity"],
        ),
    ]
}

async fn post(shop: &Shop, content_type: Option<&str>, body: impl Into<reqwest::Body>) -> Answer {
    let mut request = shop.client.post(shop.url("/api/order")).body(body);
    if let Some(content_type) = content_type {
        request = request.header("content-type", content_type);
    }
    Answer::read(request.send().await.unwrap()).await
}

#[tokio::test]
async fn every_bad_order_is_refused_with_the_name_of_its_field_and_nothing_is_written() {
    let (shop, database) = Shop::open().await;
    for (case, body, status, fields) in cases() {
        let answer = post(&shop, Some("application/json"), body).await;
        assert_eq!(answer.status, status, "{case}: {}", answer.body);
        answer.is_problem(status);
        assert_eq!(answer.fields(), fields, "{case}: {}", answer.body);
        if let Some(field) = fields.first() {
            let error = answer.body["error"].as_str().unwrap();
            assert!(error.contains(field), "{case}: {error} names {field}");
        }
    }
    assert_eq!(rows(&database.pool().await).await, (0, 0, 0));
    shop.order().await.order_id();
    shop.close().await;
}

#[tokio::test]
async fn bytes_that_are_no_text_are_refused() {
    let (shop, database) = Shop::open().await;
    for bytes in [&b"\xff\xfe\x00"[..], b"{\"user_id\":1,\"email\":\"\xff\xff\"}", b"\x1f\x8b\x08\x00"] {
        post(&shop, Some("application/json"), bytes).await.is_problem(400);
    }
    assert_eq!(rows(&database.pool().await).await, (0, 0, 0));
    shop.close().await;
}

#[tokio::test]
async fn another_content_type_and_an_oversized_body_are_refused() {
    let (shop, database) = Shop::open().await;
    let good = with("user_id", json!(1));
    for content_type in
        [None, Some("text/plain"), Some("application/x-www-form-urlencoded"), Some("application/xml")]
    {
        post(&shop, content_type, good.clone()).await.is_problem(415);
    }
    let large = with("email", json!("a".repeat(100_000)));
    let answer = post(&shop, Some("application/json"), large).await;
    assert!(answer.is_problem(413).body["error"].as_str().unwrap().contains("65536"), "{}", answer.body);
    assert_eq!(rows(&database.pool().await).await, (0, 0, 0));
    assert_eq!(post(&shop, Some("application/json; charset=utf-8"), good).await.status, 201);
    shop.close().await;
}

#[tokio::test]
async fn unknown_paths_and_wrong_methods_are_problems_too() {
    let (shop, _database) = Shop::open().await;
    for (method, path, status) in [
        (Method::GET, "/", 404),
        (Method::GET, "/api", 404),
        (Method::GET, "/api/product", 404),
        (Method::GET, "/api/product/1/2", 404),
        (Method::POST, "/api/product/1", 405),
        (Method::GET, "/api/order", 405),
        (Method::DELETE, "/api/orders", 405),
        (Method::PUT, "/api/orders/1", 405),
        (Method::PATCH, "/health", 405),
    ] {
        for (accept, content_type) in
            [("*/*", "application/json"), ("application/problem+json", "application/problem+json")]
        {
            let request = shop.client.request(method.clone(), shop.url(path)).header("accept", accept);
            let mut answer = Answer::read(request.send().await.unwrap()).await;
            assert_eq!(answer.content_type, content_type, "{method} {path}");
            answer.content_type = "application/json".to_owned();
            answer.is_problem(status);
        }
    }
    shop.close().await;
}

#[tokio::test]
async fn half_a_request_ends_with_408_or_a_closed_connection_and_others_are_served_meanwhile() {
    let (shop, database) = Shop::open().await;
    let ended = Cell::new(0);
    let half = async |request: &str| {
        let mut stream = TcpStream::connect(&shop.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // A reset is a closed connection too.
        let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer))
            .await
            .expect("the server ends it");
        ended.set(ended.get() + 1);
        String::from_utf8(answer).unwrap()
    };
    let head = "POST /api/order HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n";
    let body = format!("{head}content-length: 100\r\n\r\n{{\"user_id\":1,");
    let chunk = format!("{head}transfer-encoding: chunked\r\n\r\n5\r\n{{\"use");
    let others = async {
        let mut meanwhile = 0;
        while ended.get() == 0 {
            shop.order().await.order_id();
            meanwhile += 1;
        }
        // The last of them may have waited for the end of the first half.
        assert!(meanwhile > 1, "others notice nothing");
    };
    let (in_head, in_body, in_chunk, ()) = tokio::join!(half(head), half(&body), half(&chunk), others);
    assert!(in_head.is_empty() || in_head.starts_with("HTTP/1.1 4"), "{in_head}");
    for answer in [in_body, in_chunk] {
        assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains(r#""success":false"#), "{answer}");
    }
    let (orders, lines, events) = rows(&database.pool().await).await;
    assert!(orders > 0 && orders == lines && orders == events);
    shop.close().await;
}
