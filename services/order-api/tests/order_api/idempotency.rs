//! Orders under an `Idempotency-Key`: a repeat is the same order, whenever and however often it comes.

use std::collections::BTreeSet;

use futures::future::join_all;
use reqwest::Response;
use reqwest::header::HeaderValue;
use serde_json::{Value, json};
use sqlx::PgPool;
use testkit::{Servers, eventually};

use crate::shop::{Answer, NOWHERE, Shop, order_for, rows};

async fn keys(pool: &PgPool) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM idempotency_keys").fetch_one(pool).await.unwrap()
}

/// All that an answer says, but for the time it took.
fn said(answer: &Answer) -> (u16, Option<String>, Value) {
    let mut body = answer.body.clone();
    body.as_object_mut().unwrap().remove("response_time_ms").unwrap();
    (answer.status, answer.location.clone(), body)
}

#[tokio::test]
async fn a_repeat_gets_the_first_answer_and_says_so_and_nothing_is_written_again() {
    let (shop, database) = Shop::open().await;
    let first = shop.order_under("key-1").await;
    assert!(!first.replayed);
    for path in ["/api/order", "/api/orders"] {
        let body = order_for(json!([{ "product_id": 1, "quantity": 2 }]));
        let request = shop.client.post(shop.url(path)).header("Idempotency-Key", "key-1").json(&body);
        let repeat = Answer::read(request.send().await.unwrap()).await;
        assert!(repeat.replayed);
        assert_eq!(said(&repeat), said(&first));
    }
    let pool = database.pool().await;
    assert_eq!((rows(&pool).await, keys(&pool).await), ((1, 1, 1), 1));

    let other = shop.order_under("key-2").await;
    assert!(!other.replayed && other.order_id() != first.order_id(), "another key is another order");
    let upper = shop.order_under("KEY-1").await;
    assert!(!upper.replayed, "keys are compared byte by byte");
    shop.close().await;
}

#[tokio::test]
async fn without_a_key_every_request_is_an_order_and_no_key_is_kept() {
    let (shop, database) = Shop::open().await;
    let answers = [shop.order().await, shop.order().await];
    assert!(answers.iter().all(|answer| !answer.replayed));
    assert_ne!(answers[0].order_id(), answers[1].order_id());
    let pool = database.pool().await;
    assert_eq!((rows(&pool).await, keys(&pool).await), ((2, 2, 2), 0));
    shop.close().await;
}

#[tokio::test]
async fn sameness_is_what_is_ordered_and_another_order_under_the_key_is_refused_by_the_name_of_the_header() {
    let (shop, database) = Shop::open().await;
    let items = json!([{ "product_id": 1, "quantity": 3 }, { "product_id": 2, "quantity": 1 }]);
    let first = shop.post_under("key", &order_for(items.clone())).await.order_id();

    let mut respelled = order_for(json!([
        { "product_id": 2, "quantity": 1, "price": 0.01 },
        { "product_id": 1, "quantity": 1 },
        { "product_id": 1, "quantity": 2 },
    ]));
    respelled["total"] = json!(1);
    let repeat = shop.post_under("key", &respelled).await;
    assert_eq!((repeat.replayed, repeat.order_id()), (true, first.clone()));

    for (field, value) in [
        ("user_id", json!(124)),
        ("email", json!("other@example.com")),
        ("phone", json!("+1234567891")),
        ("items", json!([{ "product_id": 1, "quantity": 3 }])),
        ("items", json!([{ "product_id": 1, "quantity": 3 }, { "product_id": 2, "quantity": 2 }])),
        ("items", json!([{ "product_id": 1, "quantity": 3 }, { "product_id": 3, "quantity": 1 }])),
    ] {
        let mut body = order_for(items.clone());
        body[field] = value;
        let answer = shop.post_under("key", &body).await;
        assert_eq!(answer.is_problem(422).fields(), ["Idempotency-Key"], "{body}");
        let error = answer.body["error"].as_str().unwrap();
        assert!(error.contains("Idempotency-Key stands for another order"), "{error}");
        assert!(
            !answer.replayed && !answer.body.to_string().contains(&first),
            "who lacks the order learns nothing of it"
        );
    }
    assert_eq!(rows(&database.pool().await).await, (1, 2, 1));
    shop.close().await;
}

#[tokio::test]
async fn a_malformed_or_doubled_key_is_refused_and_nothing_is_written() {
    let (shop, database) = Shop::open().await;
    let too_long = "k".repeat(256);
    for values in [&[""][..], &["two words"], &["schlüssel"], &[too_long.as_str()], &["a", "a"]] {
        let mut request = shop.client.post(shop.url("/api/order"));
        for value in values {
            request = request.header("idempotency-key", HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        let body = order_for(json!([{ "product_id": 1, "quantity": 1 }]));
        let answer = Answer::read(request.json(&body).send().await.unwrap()).await;
        assert_eq!(answer.is_problem(400).fields(), ["Idempotency-Key"], "{values:?}");
    }
    let pool = database.pool().await;
    assert_eq!((rows(&pool).await, keys(&pool).await), ((0, 0, 0), 0));
    assert_eq!(shop.order_under(&"k".repeat(255)).await.status, 201);
    shop.close().await;
}

#[tokio::test]
async fn a_repeat_costs_what_the_first_did_even_if_the_catalogue_has_changed_or_lost_the_product() {
    let (shop, database) = Shop::open().await;
    let pool = database.pool().await;
    let first = shop.order_under("key").await;
    assert_eq!(first.body["total"], 59.98);
    for change in ["UPDATE products SET price_cents = 1 WHERE id = 1", "DELETE FROM products WHERE id = 1"] {
        sqlx::query(change).execute(&pool).await.unwrap();
        let repeat = shop.order_under("key").await;
        assert!(repeat.replayed, "{change}");
        assert_eq!(said(&repeat), said(&first), "{change}");
    }
    assert_eq!(shop.order_under("other").await.is_problem(422).fields(), ["items[0].product_id"]);
    let mut other = order_for(json!([{ "product_id": 1, "quantity": 2 }]));
    other["user_id"] = json!(7);
    assert_eq!(shop.post_under("key", &other).await.is_problem(422).fields(), ["Idempotency-Key"]);
    assert_eq!(rows(&pool).await, (1, 1, 1));
    shop.close().await;
}

#[tokio::test]
async fn what_was_refused_or_failed_leaves_its_key_free() {
    let (shop, database) = Shop::open().await;
    let pool = database.pool().await;
    for (items, status) in [
        (json!([{ "product_id": 1, "quantity": 0 }]), 422),
        (json!([{ "product_id": 101, "quantity": 1 }]), 422),
        (json!("nothing"), 400),
    ] {
        shop.post_under("key", &order_for(items)).await.is_problem(status);
    }
    sqlx::query("ALTER TABLE outbox ADD CONSTRAINT outbox_is_closed CHECK (false)")
        .execute(&pool)
        .await
        .unwrap();
    let failed = shop.order_under_once("key").await;
    let detail = failed.is_problem(503).body["detail"].as_str().unwrap();
    assert!(detail.contains("same Idempotency-Key"), "a 503 says how to go on: {detail}");
    assert_eq!((rows(&pool).await, keys(&pool).await), ((0, 0, 0), 0));
    sqlx::query("ALTER TABLE outbox DROP CONSTRAINT outbox_is_closed").execute(&pool).await.unwrap();

    let other = order_for(json!([{ "product_id": 2, "quantity": 5 }]));
    let taken = shop.post_under("key", &other).await;
    assert!(taken.status == 201 && !taken.replayed, "{taken:?}");
    assert_eq!((rows(&pool).await, keys(&pool).await), ((1, 1, 1), 1));
    shop.close().await;
}

#[tokio::test]
async fn repeats_at_the_same_time_at_two_shops_are_all_answered_with_the_one_order() {
    let database = Servers::shared().await.database("orders").await;
    let shops = [
        Shop::open_at(database.url(), NOWHERE, &[]).await,
        Shop::open_at(database.url(), NOWHERE, &[]).await,
    ];
    for shop in &shops {
        shop.ready().await;
    }
    for round in 1..=5 {
        let key = format!("key-{round}");
        let answers = join_all((0..40).map(|n| shops[n % 2].order_under(&key))).await;
        let ids: BTreeSet<String> = answers.iter().map(Answer::order_id).collect();
        assert_eq!(ids.len(), 1, "{ids:?}");
        assert!(
            answers.iter().filter(|answer| !answer.replayed).count() <= 1,
            "at most one of them was the first"
        );
        let pool = database.pool().await;
        assert_eq!((rows(&pool).await, keys(&pool).await), ((round, round, round), round));
    }
    for shop in shops {
        shop.close().await;
    }
}

/// Sends an order under `key` and leaves the answer for later.
fn send(shop: &Shop, key: &str) -> tokio::task::JoinHandle<reqwest::Result<Response>> {
    let body = order_for(json!([{ "product_id": 1, "quantity": 2 }]));
    tokio::spawn(shop.client.post(shop.url("/api/order")).header("idempotency-key", key).json(&body).send())
}

async fn eventually_waiting(pool: &PgPool, event: &str, count: i64) {
    eventually(&format!("{count} statements wait for {event}"), async || {
        let waiting: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = $1",
        )
        .bind(event)
        .fetch_one(pool)
        .await
        .unwrap();
        if waiting == count { Ok(()) } else { Err(format!("{waiting} waiting")) }
    })
    .await;
}

#[tokio::test]
async fn repeats_wait_for_the_statement_that_has_claimed_the_key_and_if_it_fails_one_of_them_takes_the_order()
{
    let database = Servers::shared().await.database("orders").await;
    let pool = database.pool().await;
    let shop = Shop::open_patiently(&database, NOWHERE, &[]).await;
    // Stops an insert after its claim of the key and before its end.
    sqlx::raw_sql(
        "CREATE FUNCTION wait_at_the_gate() RETURNS trigger LANGUAGE plpgsql AS
         $$ BEGIN PERFORM pg_advisory_xact_lock(1); RETURN NEW; END $$;
         CREATE TRIGGER gate BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION wait_at_the_gate()",
    )
    .execute(&pool)
    .await
    .unwrap();
    let mut gate = pool.acquire().await.unwrap();
    sqlx::query("SELECT pg_advisory_lock(1)").execute(&mut *gate).await.unwrap();

    let first = send(&shop, "key");
    eventually_waiting(&pool, "advisory", 1).await;
    let repeats = [0; 3].map(|_| send(&shop, "key"));
    // One statement waits, for one of them; the others wait for it, as no statement takes a key twice.
    eventually_waiting(&pool, "transactionid", 1).await;
    sqlx::query(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE datname = current_database() AND wait_event = 'advisory'",
    )
    .execute(&pool)
    .await
    .unwrap();
    Answer::read(first.await.unwrap().unwrap()).await.is_problem(503);
    eventually_waiting(&pool, "advisory", 1).await;
    sqlx::query("SELECT pg_advisory_unlock(1)").execute(&mut *gate).await.unwrap();

    let answers =
        join_all(repeats.map(async |repeat| Answer::read(repeat.await.unwrap().unwrap()).await)).await;
    let ids: BTreeSet<String> = answers.iter().map(Answer::order_id).collect();
    assert_eq!(ids.len(), 1, "{answers:?}");
    assert_eq!(answers.iter().filter(|answer| !answer.replayed).count(), 1, "{answers:?}");
    assert_eq!((rows(&pool).await, keys(&pool).await), ((1, 1, 1), 1));
    shop.close().await;
}
