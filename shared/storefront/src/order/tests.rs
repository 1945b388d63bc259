use std::collections::BTreeMap;

use axum::body::Body;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// Reads a body as the service does.
async fn read(body: &str) -> Result<NewOrder, Value> {
    let request = Request::post("/api/order")
        .header("content-type", "application/json")
        .body(Body::from(body.to_owned()))
        .unwrap();
    NewOrder::from_request(request, &()).await.map_err(|problem| problem.body(None))
}

fn body_with(items: Value) -> Value {
    json!({ "user_id": 123, "email": "user@example.com", "phone": "+1234567890", "items": items })
}

async fn order(items: Value) -> Result<NewOrder, Value> {
    read(&body_with(items).to_string()).await
}

fn fields(problem: &Value) -> Vec<&str> {
    problem["errors"].as_array().unwrap().iter().map(|error| error["field"].as_str().unwrap()).collect()
}

fn catalogue() -> HashMap<i32, Money> {
    (1..=100).map(|id| (id, Money::from_cents(i64::from(id) * 1001).unwrap())).collect()
}

#[tokio::test]
async fn the_documented_order_is_accepted_and_its_prices_are_not_believed() {
    let body = r#"{"user_id":123,"email":"user@example.com","phone":"+1234567890",
                   "items":[{"product_id":1,"quantity":2,"price":0.01}],"total":0.02}"#;
    let priced = read(body).await.unwrap().price(&catalogue()).unwrap();
    assert_eq!(priced.total.cents(), 2002);
    assert_eq!(priced.lines[0].unit_price.cents(), 1001);
    assert_eq!(priced.id.get_version_num(), 7);
    let event = priced.to_event();
    assert_eq!(
        (event.order_id, event.email.as_str(), event.total),
        (priced.id, "user@example.com", priced.total)
    );
}

#[tokio::test]
async fn all_faults_are_named_at_once() {
    let body = json!({
        "user_id": 0, "email": "user@example.com\r\nBcc: x@y.zz", "phone": "call me",
        "items": [{ "product_id": 1, "quantity": 0 }, { "product_id": 0, "quantity": 1001 }],
    });
    let problem = read(&body.to_string()).await.unwrap_err();
    assert_eq!(problem["status"], 422);
    let expected =
        ["user_id", "email", "phone", "items[0].quantity", "items[1].product_id", "items[1].quantity"];
    assert_eq!(fields(&problem), expected);
    assert_eq!(problem["error"], "user_id must be 1 or more (and 5 more)");
}

#[tokio::test]
async fn quantities_outside_1_to_1000_are_refused() {
    for quantity in [json!(0), json!(-1), json!(1001), json!(i64::MAX)] {
        let problem = order(json!([{ "product_id": 1, "quantity": quantity }])).await.unwrap_err();
        assert_eq!(
            (&problem["status"], fields(&problem)),
            (&json!(422), vec!["items[0].quantity"]),
            "{quantity}"
        );
    }
    for quantity in [json!(1.5), json!("2"), json!(null), json!(true), json!(1e30), json!([1])] {
        let problem = order(json!([{ "product_id": 1, "quantity": quantity }])).await.unwrap_err();
        assert_eq!(
            (&problem["status"], fields(&problem)),
            (&json!(400), vec!["items[0].quantity"]),
            "{quantity}"
        );
    }
}

#[tokio::test]
async fn empty_and_over_long_lists_are_refused() {
    let line = |id: usize| json!({ "product_id": id, "quantity": 1 });
    for count in [0, 101] {
        let problem = order((1..=count).map(line).collect()).await.unwrap_err();
        assert_eq!((&problem["status"], fields(&problem)), (&json!(422), vec!["items"]), "{count}");
    }
    assert_eq!(order((1..=100).map(line).collect()).await.unwrap().product_ids().len(), 100);
}

#[tokio::test]
async fn a_product_named_twice_becomes_one_line_within_the_limit() {
    let twice =
        |quantity| json!([{ "product_id": 7, "quantity": 600 }, { "product_id": 7, "quantity": quantity }]);
    let priced = order(twice(400)).await.unwrap().price(&catalogue()).unwrap();
    assert_eq!(
        priced.lines,
        [OrderLine { product_id: 7, quantity: 1000, unit_price: Money::from_cents(7007).unwrap() }]
    );
    let problem = order(twice(401)).await.unwrap_err();
    assert_eq!(fields(&problem), ["items[1].quantity"]);
}

#[tokio::test]
async fn an_unknown_product_is_named_by_its_place_in_the_request() {
    let items = json!([
        { "product_id": 1, "quantity": 1 }, { "product_id": 1, "quantity": 1 }, { "product_id": 101, "quantity": 1 },
    ]);
    let problem = order(items).await.unwrap().price(&catalogue()).unwrap_err().body(None);
    assert_eq!((&problem["status"], fields(&problem)), (&json!(422), vec!["items[2].product_id"]));
}

#[tokio::test]
async fn an_order_beyond_all_money_is_refused() {
    let order = order(json!([{ "product_id": 1, "quantity": 1000 }])).await.unwrap();
    let problem = order.price(&HashMap::from([(1, Money::LIMIT)])).unwrap_err().body(None);
    assert_eq!((&problem["status"], fields(&problem)), (&json!(422), vec!["items"]));
}

#[tokio::test]
async fn unknown_missing_and_doubled_fields_and_wrong_types_are_named() {
    for (body, field) in [
        (r#"{"user_id":1,"email":"a@b.cc","phone":"+1234567","items":[],"admin":true}"#, "admin"),
        (r#"{"user_id":1,"user_id":2,"email":"a@b.cc","phone":"+1234567","items":[]}"#, "user_id"),
        (r#"{"user_id":1,"phone":"+1234567","items":[]}"#, "email"),
        (r#"{"user_id":"1","email":"a@b.cc","phone":"+1234567","items":[]}"#, "user_id"),
        (r#"{"user_id":1,"email":7,"phone":"+1234567","items":[]}"#, "email"),
        (r#"{"user_id":1,"email":"a@b.cc","phone":"+1234567","items":{}}"#, "items"),
        (r#"{"user_id":1,"email":"a@b.cc","phone":"+1234567","items":[[1,1]]}"#, "items[0]"),
        (
            r#"{"user_id":1,"email":"a@b.cc","phone":"+1234567","items":[{"product_id":1,"quantity":1,"sku":1}]}"#,
            "items[0].sku",
        ),
        (r#"{"user_id":1,"email":"a@b.cc","phone":"+1234567","items":[],"total":"free"}"#, "total"),
        (
            r#"{"user_id":1,"email":"a@b.cc","phone":"+1234567","items":[{"product_id":1,"quantity":1,"price":{}}]}"#,
            "items[0].price",
        ),
    ] {
        let problem = read(body).await.unwrap_err();
        assert_eq!((&problem["status"], fields(&problem)), (&json!(400), vec![field]), "{body}");
    }
}

#[tokio::test]
async fn an_array_of_the_right_values_is_no_order() {
    for body in
        [r#"[1,"a@b.cc","+1234567",[{"product_id":1,"quantity":1}],null]"#, "[]", "null", "\"order\"", "1"]
    {
        let problem = read(body).await.unwrap_err();
        assert_eq!(problem["status"], 400);
        assert!(problem["error"].as_str().unwrap().contains("expected an object"), "{body}: {problem}");
    }
}

#[tokio::test]
async fn debug_output_shows_no_contact() {
    let order = order(json!([{ "product_id": 1, "quantity": 1 }])).await.unwrap();
    let shown = format!("{order:?} {:?}", order.clone().price(&catalogue()).unwrap());
    assert!(!shown.contains("example") && !shown.contains("1234567890"), "{shown}");
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        let name = prop_oneof![Just("product_id".to_owned()), Just("quantity".to_owned()), "[a-z_]{1,8}"];
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(name, inner, 0..4).prop_map(|map| map.into_iter().collect()),
        ]
    })
}

proptest! {
    #[test]
    fn any_json_is_an_order_or_a_problem(user_id in any_json(), email in any_json(), phone in any_json(), items in any_json()) {
        let body = json!({ "user_id": user_id, "email": email, "phone": phone, "items": items });
        if let Ok(request) = serde_json::from_value::<OrderRequest>(body)
            && let Err(problem) = request.check()
        {
            prop_assert_eq!(problem.status(), StatusCode::UNPROCESSABLE_ENTITY);
        }
    }

    #[test]
    fn merging_keeps_every_piece_and_the_total(items in proptest::collection::vec((1i32..=20, 1i64..=50), 1..=20)) {
        let lines = items.iter().map(|(id, quantity)| json!({ "product_id": id, "quantity": quantity })).collect();
        let request: OrderRequest = serde_json::from_value(body_with(lines)).unwrap();
        let priced = request.check().unwrap().price(&catalogue()).unwrap();

        let mut expected = BTreeMap::new();
        for (id, quantity) in &items {
            *expected.entry(*id).or_insert(0) += quantity;
        }
        let merged: BTreeMap<_, _> =
            priced.lines.iter().map(|line| (line.product_id, i64::from(line.quantity))).collect();
        prop_assert_eq!(&merged, &expected);
        prop_assert_eq!(priced.lines.len(), merged.len(), "one line per product");
        let cents: i64 = items.iter().map(|(id, quantity)| i64::from(*id) * 1001 * quantity).sum();
        prop_assert_eq!(priced.total.cents(), cents);
    }
}
