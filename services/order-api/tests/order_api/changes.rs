//! Products that change while they are read.

use std::time::{Duration, Instant};

use contracts::Money;
use ops::product::{Change, change, connect, write_through};
use serde_json::{Value, json};
use sqlx::PgPool;
use testkit::{Servers, eventually};

use crate::proxy::{Proxy, host};
use crate::shop::{PATIENT, Shop};

const TTL: Duration = Duration::from_secs(300);

/// What `ops product set --price` does.
async fn set_price(pool: &PgPool, redis: &str, id: i32, cents: i64) {
    let new = Change { price: Money::from_cents(cents).ok(), ..Change::default() };
    let changed = change(pool, id, &new).await.unwrap();
    write_through(&mut connect(redis).await.unwrap(), &changed, TTL).await.unwrap();
}

/// Reads answered from the shop's own memory so far.
async fn near_hits(shop: &Shop) -> u64 {
    let text = shop.client.get(shop.url("/metrics")).send().await.unwrap().text().await.unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("product_cache_near_hits_total ")).unwrap();
    line.parse().unwrap()
}

/// Reads until an answer came from memory.
async fn read_from_memory(shop: &Shop, path: &str) {
    let before = near_hits(shop).await;
    eventually("a read is answered from memory", async || {
        shop.get(path).await;
        if near_hits(shop).await > before { Ok(()) } else { Err("every read asked Redis") }
    })
    .await;
}

fn price(body: &Value) -> f64 {
    body["data"]["price"].as_f64().unwrap()
}

#[tokio::test]
async fn a_change_shows_although_the_product_is_in_memory_and_is_in_memory_again_after_it() {
    let servers = Servers::shared().await;
    let (database, redis) = (servers.database("orders").await, servers.redis_database().await);
    let pool = database.pool().await;
    let shop = Shop::open_at(database.url(), &redis, &["--timeout", "5s", "--lease", "10s"]).await;
    shop.ready().await;
    let started = Instant::now();
    for cents in 1001..1011 {
        read_from_memory(&shop, "/api/product/5").await;
        set_price(&pool, &redis, 5, cents).await;
        eventually("the change shows", async || {
            let answer = shop.get("/api/product/5").await.body;
            assert_eq!(answer["from_cache"], true);
            if price(&answer) == cents as f64 / 100.0 { Ok(()) } else { Err(answer.to_string()) }
        })
        .await;
    }
    // Without being told the shop would ask Redis after half of the lease each time, which takes 50 s together.
    assert!(started.elapsed() < Duration::from_secs(25), "{:?}", started.elapsed());
    shop.close().await;
}

#[tokio::test]
async fn while_redis_cannot_be_heard_an_old_product_is_shown_for_the_lease_at_most() {
    let servers = Servers::shared().await;
    let (database, redis) = (servers.database("orders").await, servers.redis_database().await);
    let pool = database.pool().await;
    let proxy = Proxy::to(host(&redis)).await;
    let url = format!("redis://{}/{}", proxy.address, redis.rsplit('/').next().unwrap());
    let settings = ["--timeout", "100ms", "--cool-down", "1h", "--lease", "2s"];
    let shop = Shop::open_at(database.url(), &url, &settings).await;
    shop.ready().await;
    let memory = eventually("Redis is used and a read is answered from memory", async || {
        // Finds Redis again if this machine was too slow for the time-out.
        shop.get_once("/health").await;
        let before = near_hits(&shop).await;
        for _ in 0..3 {
            shop.get("/api/product/5").await;
        }
        if near_hits(&shop).await > before { Ok(()) } else { Err("not yet") }
    });
    memory.await;

    proxy.keep_answers_back();
    set_price(&pool, &redis, 5, 1001).await;
    let changed = Instant::now();
    eventually("the lease is over", async || {
        let asked = Instant::now();
        let answer = shop.get("/api/product/5").await.body;
        let is_new = price(&answer) == 10.01;
        assert!(
            is_new || asked < changed + Duration::from_secs(2),
            "{answer} {:?} after the change",
            asked - changed
        );
        if is_new { Ok(()) } else { Err(answer.to_string()) }
    })
    .await;
    shop.close().await;
}

/// The pause point is the way to the database: the row was read there, and the answer is on its way until the change is done.
#[tokio::test]
async fn a_product_that_was_read_before_a_change_does_not_overwrite_it_in_the_cache() {
    let servers = Servers::shared().await;
    let (database, redis) = (servers.database("orders").await, servers.redis_database().await);
    let pool = database.pool().await;
    let (proxy, url) = Proxy::before(database.url()).await;
    let shop = Shop::open_at(&url, &redis, PATIENT).await;
    shop.ready().await;

    proxy.keep_answers_back_from("Product 2");
    let change = async {
        proxy.answer_is_kept_back().await;
        set_price(&pool, &redis, 2, 1).await;
        proxy.let_answers_through();
    };
    let (late, ()) = tokio::join!(shop.get_once("/api/product/2"), change);
    assert_eq!((late.status, &late.body["from_cache"]), (200, &json!(false)), "{}", late.body);
    assert!(price(&late.body) > 0.01, "the reader has the row of before the change: {}", late.body);
    let now = shop.get("/api/product/2").await.body;
    assert_eq!((&now["from_cache"], price(&now)), (&json!(true), 0.01), "{now}");
    shop.close().await;
}
