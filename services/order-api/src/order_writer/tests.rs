use axum::body::Body;
use axum::extract::{FromRequest, OptionalFromRequestParts, Request};
use chrono::Utc;
use contracts::Money;
use serde_json::json;
use storefront::{IdempotencyKey, NewOrder};
use testkit::{Servers, TestDatabase};

use super::*;
use crate::MIGRATIONS;

const LONG: Duration = Duration::from_secs(180);

/// A writer on a database of its own.
async fn writer() -> (OrderWriter, TestDatabase) {
    let database = Servers::shared().await.database("orders").await;
    let pool = persistence::pool::connect_lazy_planned_once(database.url(), 2, "writer").unwrap();
    persistence::pool::migrate(&pool, &MIGRATIONS).await.unwrap();
    let (poke, _poker) = Poke::new(database.url(), "poke").unwrap();
    (OrderWriter { pool, poke, patience: LONG }, database)
}

/// An order of `user`, under `key` if there is one, as a request makes it.
async fn rows(user: i64, key: Option<&str>) -> OrderRows {
    let body = json!({ "user_id": user, "email": "ann@example.com", "phone": "+1234567890",
                       "items": [{ "product_id": 1, "quantity": 1 }] });
    let request = Request::builder().header("content-type", "application/json");
    let request = key.into_iter().fold(request, |request, key| request.header("idempotency-key", key));
    let (mut parts, body) = request.body(Body::from(body.to_string())).unwrap().into_parts();
    let key = IdempotencyKey::from_request_parts(&mut parts, &()).await.unwrap();
    let order = NewOrder::from_request(Request::from_parts(parts, body), &()).await.unwrap();
    let ttl = Duration::from_secs(3600);
    let claim = key.map(|key| Claim { key, fingerprint: order.fingerprint(), ttl });
    let order = order.price(&HashMap::from([(1, Money::from_cents(2999).unwrap())])).unwrap();
    let envelope = order.to_event().into_event(Utc::now());
    let payload = serde_json::to_string(&envelope).unwrap();
    OrderRows { order, event: NewEvent { envelope, payload, traceparent: None }, trace_id: None, claim }
}

/// Orders of users 1 to `last`; every so-manieth has a key of its own.
async fn orders(last: i64, with_key: i64) -> Vec<OrderRows> {
    let mut orders = Vec::new();
    for user in 1..=last {
        let key = format!("key-{user}");
        orders.push(rows(user, (user % with_key == 0).then_some(&key)).await);
    }
    orders
}

async fn written(writer: &OrderWriter, orders: Vec<OrderRows>) -> Vec<Written> {
    writer.carry_out(orders).await.into_iter().map(|shared| shared.result.unwrap()).collect()
}

/// The users whose orders stand, in how many transactions they were written, and how many lines and events there are.
async fn standing(writer: &OrderWriter) -> (Vec<i64>, i64, i64, i64) {
    sqlx::query_as(
        "SELECT coalesce(array_agg(user_id ORDER BY user_id), '{}'), count(DISTINCT orders.xmin::text),
                (SELECT count(*) FROM order_items), (SELECT count(*) FROM outbox) FROM orders",
    )
    .fetch_one(&writer.pool)
    .await
    .unwrap()
}

/// Has the database refuse the orders of user 13.
async fn refuse_13(writer: &OrderWriter) {
    sqlx::raw_sql(
        "CREATE FUNCTION refuse_13() RETURNS trigger LANGUAGE plpgsql AS
         $$ BEGIN IF NEW.user_id = 13 THEN RAISE EXCEPTION 'not 13'; END IF; RETURN NEW; END $$;
         CREATE TRIGGER refuse BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION refuse_13()",
    )
    .execute(&writer.pool)
    .await
    .unwrap();
}

#[tokio::test]
async fn the_orders_of_a_group_are_written_by_one_transaction() {
    let (writer, _database) = writer().await;
    assert_eq!(written(&writer, orders(100, 2).await).await, [Written::New; 100]);
    assert_eq!(standing(&writer).await, ((1..=100).collect(), 1, 100, 100));
}

#[tokio::test]
async fn an_order_that_the_database_refuses_costs_no_other_order_of_its_group_anything() {
    let (writer, _database) = writer().await;
    refuse_13(&writer).await;
    let outcomes = written(&writer, orders(40, 3).await).await;
    for (user, outcome) in (1..).zip(outcomes) {
        let expected = if user == 13 { Written::Unknown } else { Written::New };
        assert_eq!(outcome, expected, "order of {user}");
    }
    let (users, transactions, ..) = standing(&writer).await;
    assert_eq!(users, (1..=40).filter(|user| *user != 13).collect::<Vec<i64>>());
    assert!(transactions < 10, "{transactions} transactions: the group is halved, not written one by one");
}

#[tokio::test]
async fn of_a_key_that_stands_in_a_group_many_times_the_first_order_is_written_and_the_others_are_told() {
    let (writer, _database) = writer().await;
    let orders = vec![
        rows(1, Some("b")).await,
        rows(2, Some("a")).await,
        rows(3, None).await,
        rows(4, Some("b")).await,
        rows(5, Some("a")).await,
        rows(6, Some("b")).await,
    ];
    let (new, taken) = (Written::New, Written::KeyTaken);
    assert_eq!(written(&writer, orders).await, [new, new, new, taken, taken, taken]);
    assert_eq!(standing(&writer).await.0, [1, 2, 3]);
    assert_eq!(
        written(&writer, vec![rows(7, Some("a")).await, rows(8, Some("c")).await]).await,
        [taken, new]
    );
}

#[tokio::test]
async fn a_repeat_of_an_order_that_was_refused_in_its_group_is_not_sent_and_may_come_again() {
    let (writer, _database) = writer().await;
    refuse_13(&writer).await;
    let orders = vec![rows(13, Some("a")).await, rows(1, Some("a")).await, rows(2, None).await];
    assert_eq!(written(&writer, orders).await, [Written::Unknown, Written::NotSent, Written::New]);
    assert_eq!(written(&writer, vec![rows(1, Some("a")).await]).await, [Written::New]);
}

#[tokio::test]
async fn a_key_that_is_locked_keeps_no_order_without_a_key_from_being_written() {
    let (writer, database) = writer().await;
    assert_eq!(written(&writer, vec![rows(1, Some("a")).await]).await, [Written::New]);
    let pool = database.pool().await;
    let mut holder = pool.begin().await.unwrap();
    // Else the role's limit would end it meanwhile.
    sqlx::query("SET LOCAL idle_in_transaction_session_timeout = 0").execute(&mut *holder).await.unwrap();
    sqlx::query("SELECT FROM idempotency_keys FOR UPDATE").execute(&mut *holder).await.unwrap();
    // The role's lock_timeout is 3 s: the group is refused once, then those without a key go first.
    let outcomes =
        written(&writer, vec![rows(2, Some("a")).await, rows(3, None).await, rows(4, None).await]).await;
    holder.rollback().await.unwrap();
    assert_eq!(outcomes[1..], [Written::New, Written::New]);
    assert_eq!(outcomes[0], Written::Unknown);
}
