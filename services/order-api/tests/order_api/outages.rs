//! Servers that stop, hang and come back.

use std::time::{Duration, Instant};

use serde_json::json;
use testkit::{Kind, Servers, eventually};

use crate::proxy::{Proxy, hold_orders, host};
use crate::shop::{NOWHERE, PATIENT, Shop, rows};

#[tokio::test]
async fn with_redis_stopped_reads_and_orders_go_on_and_the_cache_returns_with_it() {
    let database = Servers::shared().await.database("orders").await;
    let redis = Servers::private(&[Kind::Redis]).await;
    let shop = Shop::open_at(database.url(), redis.redis_url(), PATIENT).await;
    shop.ready().await;
    shop.get("/api/product/3").await;
    assert_eq!(shop.get("/api/product/3").await.body["from_cache"], true);

    redis.stop(Kind::Redis).await;
    eventually("the end of the connection is noticed", async || {
        let answer = shop.get("/api/product/3").await;
        if answer.body["from_cache"] == false { Ok(()) } else { Err(answer.body.to_string()) }
    })
    .await;
    for _ in 0..5 {
        let answer = shop.get("/api/product/3").await;
        assert_eq!((answer.status, &answer.body["from_cache"]), (200, &json!(false)));
        shop.order().await.order_id();
    }
    shop.get("/api/product/101").await.is_problem(404);
    let health = eventually("Redis shows as away", async || {
        let health = shop.get_once("/health").await;
        if health.body["status"] == "degraded" { Ok(health) } else { Err(health.body.to_string()) }
    })
    .await;
    assert_eq!((health.status, &health.body["checks"]["redis"]["status"]), (200, &json!("down")));
    assert_eq!(shop.get("/health/ready").await.status, 200);

    redis.start_again(Kind::Redis).await;
    eventually("the cache is used again", async || {
        let answer = shop.get("/api/product/3").await;
        if answer.body["from_cache"] == true { Ok(()) } else { Err(answer.body.to_string()) }
    })
    .await;
    shop.close().await;
}

#[tokio::test]
async fn a_shop_opens_without_redis() {
    let database = Servers::shared().await.database("orders").await;
    let shop = Shop::open_at(database.url(), NOWHERE, &[]).await;
    shop.ready().await;
    assert_eq!(shop.get("/api/product/1").await.status, 200);
    shop.order().await.order_id();
    shop.close().await;
}

#[tokio::test]
async fn a_redis_that_hangs_slows_a_few_reads_and_not_every_one() {
    let servers = Servers::shared().await;
    let (database, redis) = (servers.database("orders").await, servers.redis_database().await);
    let proxy = Proxy::to(host(&redis)).await;
    let number = redis.rsplit('/').next().unwrap();
    let url = format!("redis://{}/{number}", proxy.address);
    let shop = Shop::open_at(database.url(), &url, &["--cool-down", "1h", "--timeout", "200ms"]).await;
    shop.ready().await;
    let reads_the_cache = async || {
        // Finds Redis again if it once took a busy machine longer than 200 ms to answer.
        shop.get("/health").await;
        let answer = shop.get("/api/product/4").await;
        if answer.body["from_cache"] == true { Ok(()) } else { Err(answer.body.to_string()) }
    };
    eventually("the cache is read", reads_the_cache).await;

    proxy.keep_answers_back();
    let started = Instant::now();
    for _ in 0..100 {
        assert_eq!(shop.get("/api/product/4").await.status, 200);
    }
    // Waiting for Redis every time would take 20 s and more.
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());

    proxy.let_answers_through();
    eventually("the health check finds Redis again, long before the cool-down ends", reads_the_cache).await;
    shop.close().await;
}

#[tokio::test]
async fn with_postgres_stopped_requests_get_a_clear_503_and_all_recovers_by_itself() {
    let servers = Servers::private(&[Kind::Postgres]).await;
    let redis = Servers::shared().await.redis_database().await;
    let database = servers.database("orders").await;
    let shop = Shop::open_at(database.url(), &redis, PATIENT).await;
    shop.ready().await;
    let order = shop.order().await.order_id();
    shop.get("/api/product/1").await;

    servers.stop(Kind::Postgres).await;
    let refused = shop.order_once().await;
    refused.is_problem(503);
    assert!(refused.body["error"].as_str().unwrap().contains("not taken"), "{}", refused.body);
    assert!(refused.body.get("order_id").is_none());
    for path in ["/api/product/2", "/api/products"] {
        shop.get_once(path).await.is_problem(503);
    }
    for path in ["/health/ready", "/health"] {
        // What the health check has found is good for a quarter of a second.
        let answer = eventually(path, async || {
            let answer = shop.get_once(path).await;
            if answer.status == 503 { Ok(answer) } else { Err(answer.body.to_string()) }
        })
        .await;
        assert_eq!(answer.body["success"], false, "{path} {}", answer.body);
    }
    shop.get_once(&format!("/api/orders/{order}")).await.is_problem(503);
    assert_eq!(shop.get("/api/product/1").await.body["from_cache"], true, "what is cached is still served");
    assert_eq!(shop.get("/health/live").await.status, 200);

    servers.start_again(Kind::Postgres).await;
    eventually("orders are taken again", async || {
        let answer = shop.order_once().await;
        if answer.status == 201 { Ok(()) } else { Err(answer.body.to_string()) }
    })
    .await;
    shop.ready().await;
    assert_eq!(shop.get("/api/product/2").await.status, 200);
    assert_eq!(shop.get(&format!("/api/orders/{order}")).await.status, 200);
    assert_eq!(rows(&database.pool().await).await, (2, 2, 2), "what was refused was not written");
    shop.close().await;
}

#[tokio::test]
async fn a_shop_that_starts_before_its_database_is_alive_and_becomes_ready_with_it() {
    let servers = Servers::private(&[Kind::Postgres]).await;
    let database = servers.database("orders").await;
    servers.stop(Kind::Postgres).await;
    let shop = Shop::open_at(database.url(), NOWHERE, &[]).await;
    assert_eq!(shop.get("/health/live").await.status, 200);
    shop.get_once("/health/ready").await.is_problem(503);
    shop.order_once().await.is_problem(503);
    servers.start_again(Kind::Postgres).await;
    shop.ready().await;
    shop.order().await.order_id();
    shop.close().await;
}

#[tokio::test]
async fn when_the_answer_of_the_database_is_lost_the_503_names_the_order_whose_outcome_is_unknown() {
    let database = Servers::shared().await.database("orders").await;
    let pool = database.pool().await;
    let (proxy, url) = Proxy::before(database.url()).await;
    // One connection, on which the first order prepares the statements: the second sends nothing but the insert itself.
    let shop = Shop::open_at(&url, NOWHERE, &["--write-connections", "1"]).await;
    shop.ready().await;
    shop.order().await.order_id();

    let blocker = hold_orders(&pool).await;
    let (answer, ()) = tokio::join!(shop.order_once(), proxy.lose_the_answer(&pool, blocker));
    answer.is_problem(503);
    assert!(answer.body["error"].as_str().unwrap().contains("unknown"), "{}", answer.body);
    let id = answer.body["order_id"].as_str().unwrap();

    proxy.let_answers_through();
    eventually("the order that stands after all is found by the id", async || {
        let answer = shop.get(&format!("/api/orders/{id}")).await;
        if answer.status == 200 { Ok(()) } else { Err(answer.body.to_string()) }
    })
    .await;
    assert_eq!(rows(&pool).await, (2, 2, 2));
    shop.close().await;
}
