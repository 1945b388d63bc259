//! Reading products, and the cache in front of them.

use futures::future::join_all;
use redis::AsyncCommands;
use serde_json::json;
use testkit::Servers;

use crate::shop::{PATIENT, Shop};

#[tokio::test]
async fn a_product_is_answered_to_the_letter_and_comes_from_the_cache_the_second_time() {
    let (shop, _database) = Shop::open().await;
    let first = shop.get("/api/product/1").await;
    assert_eq!((first.status, first.content_type.as_str()), (200, "application/json"));
    assert!(first.body["response_time_ms"].as_f64().unwrap() > 0.0);
    let expected = |from_cache, time: &serde_json::Value| {
        json!({
            "success": true,
            "data": { "id": 1, "name": "Product 1", "price": 29.99, "description": "Description of product 1" },
            "from_cache": from_cache,
            "response_time_ms": time,
        })
    };
    assert_eq!(first.body, expected(false, &first.body["response_time_ms"]));
    let second = shop.get("/api/products/1").await;
    assert_eq!(second.body, expected(true, &second.body["response_time_ms"]));
    shop.close().await;
}

#[tokio::test]
async fn an_unknown_product_is_not_found_however_often_it_is_asked_for() {
    let (shop, _database) = Shop::open().await;
    for path in [
        "/api/product/101",
        "/api/product/101",
        "/api/product/0",
        "/api/product/-1",
        "/api/products/99999999999",
    ] {
        let answer = shop.get(path).await;
        assert_eq!(answer.is_problem(404).body["error"], "Product not found", "{path}");
    }
    assert_eq!(shop.get("/api/product/one").await.is_problem(400).fields(), ["id"]);
    shop.close().await;
}

#[tokio::test]
async fn hits_and_misses_are_counted() {
    let (shop, _database) = Shop::open().await;
    assert_eq!(
        shop.get("/api/cache/stats").await.body,
        json!({ "hits": 0, "misses": 0, "total": 0, "hit_rate": 0.0 })
    );
    for _ in 0..3 {
        shop.get("/api/product/5").await;
    }
    assert_eq!(
        shop.get("/api/cache/stats").await.body,
        json!({ "hits": 2, "misses": 1, "total": 3, "hit_rate": 66.67 })
    );
    shop.close().await;
}

#[tokio::test]
async fn two_shops_share_one_cache() {
    let servers = Servers::shared().await;
    let (database, redis) = (servers.database("orders").await, servers.redis_database().await);
    let (one, other) = (
        Shop::open_at(database.url(), &redis, PATIENT).await,
        Shop::open_at(database.url(), &redis, PATIENT).await,
    );
    one.ready().await;
    other.ready().await;
    assert_eq!(one.get("/api/product/9").await.body["from_cache"], false);
    assert_eq!(other.get("/api/product/9").await.body["from_cache"], true);
    one.close().await;
    other.close().await;
}

#[tokio::test]
async fn entries_expire_and_not_all_at_once() {
    let servers = Servers::shared().await;
    let (database, redis) = (servers.database("orders").await, servers.redis_database().await);
    let shop =
        Shop::open_at(database.url(), &redis, &["--ttl", "100s", "--negative-ttl", "50s", "--timeout", "5s"])
            .await;
    shop.ready().await;
    let paths: Vec<String> = (1..=101).map(|id| format!("/api/product/{id}")).collect();
    join_all(paths.iter().map(|path| shop.get(path))).await;

    let mut cache = redis::Client::open(redis).unwrap().get_multiplexed_async_connection().await.unwrap();
    let mut seconds = Vec::new();
    for id in 1..=100 {
        let milliseconds: i64 = cache.pttl(format!("product:v2:{id}")).await.unwrap();
        assert!((60_000..=100_000).contains(&milliseconds), "{milliseconds}");
        seconds.push(milliseconds / 1000);
    }
    seconds.sort_unstable();
    assert!(seconds[99] - seconds[0] > 5, "spread over a fifth of the time: {seconds:?}");
    let unknown: i64 = cache.pttl("product:v2:101").await.unwrap();
    assert!((1..=50_000).contains(&unknown), "{unknown}");
    shop.close().await;
}

#[tokio::test]
async fn garbage_in_the_cache_is_replaced() {
    let servers = Servers::shared().await;
    let (database, redis) = (servers.database("orders").await, servers.redis_database().await);
    let mut cache =
        redis::Client::open(redis.as_str()).unwrap().get_multiplexed_async_connection().await.unwrap();
    let _: () = cache.set("product:v2:2", "{\"id\":").await.unwrap();
    let shop = Shop::open_at(database.url(), &redis, PATIENT).await;
    shop.ready().await;
    for from_cache in [false, true] {
        let answer = shop.get("/api/product/2").await;
        assert_eq!((&answer.body["from_cache"], &answer.body["data"]["id"]), (&json!(from_cache), &json!(2)));
    }
    shop.close().await;
}

#[tokio::test]
async fn the_catalogue_is_listed_in_pages() {
    let (shop, _database) = Shop::open().await;
    let page = shop.get("/api/products").await.body;
    assert_eq!(page["data"].as_array().unwrap().len(), 20);
    assert_eq!(page["data"][0]["price"], 29.99);
    let mut ids = Vec::new();
    for number in 1..=4 {
        let page = shop.get(&format!("/api/products?page={number}&per_page=30")).await.body;
        assert_eq!(
            (&page["page"], &page["per_page"], &page["total"], &page["pages"]),
            (&json!(number), &json!(30), &json!(100), &json!(4))
        );
        ids.extend(page["data"].as_array().unwrap().iter().map(|product| product["id"].as_i64().unwrap()));
    }
    assert_eq!(ids, (1..=100).collect::<Vec<_>>());
    assert_eq!(shop.get("/api/products?page=4000000000&per_page=100").await.body["data"], json!([]));
    for (query, field) in [("page=0", "page"), ("per_page=101", "per_page"), ("per_page=x", "per_page")] {
        assert_eq!(shop.get(&format!("/api/products?{query}")).await.is_problem(400).fields(), [field]);
    }
    shop.close().await;
}
