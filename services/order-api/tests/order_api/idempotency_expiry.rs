//! How an `Idempotency-Key` ends.

use std::collections::BTreeSet;

use futures::future::join_all;
use serde_json::json;
use sqlx::PgPool;
use testkit::{Servers, eventually};

use crate::shop::{Answer, NOWHERE, Shop, order_for, rows};

async fn age_all(pool: &PgPool, interval: &str) {
    sqlx::query("UPDATE idempotency_keys SET created_at = created_at - $1::text::interval")
        .bind(interval)
        .execute(pool)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_key_stands_for_its_order_for_24_hours_and_is_free_after_that_even_if_its_row_is_still_there() {
    let (shop, database) = Shop::open().await;
    let pool = database.pool().await;
    let first = shop.order_under("key").await.order_id();
    age_all(&pool, "23 hours 55 minutes").await;
    let repeat = shop.order_under("key").await;
    assert_eq!((repeat.replayed, repeat.order_id()), (true, first.clone()));

    age_all(&pool, "5 minutes").await;
    let other = order_for(json!([{ "product_id": 2, "quantity": 1 }]));
    let second = shop.post_under("key", &other).await;
    assert!(!second.replayed && second.order_id() != first, "the key is free for any order: {second:?}");
    let repeat = shop.post_under("key", &other).await;
    assert_eq!((repeat.replayed, repeat.order_id()), (true, second.order_id()));
    assert_eq!(shop.order_under("key").await.is_problem(422).fields(), ["Idempotency-Key"]);
    assert_eq!(rows(&pool).await, (2, 2, 2));
    shop.close().await;
}

#[tokio::test]
async fn an_expired_key_does_not_bring_back_an_order_that_the_catalogue_can_no_longer_serve() {
    let (shop, database) = Shop::open().await;
    let pool = database.pool().await;
    shop.order_under("key").await.order_id();
    age_all(&pool, "24 hours").await;
    sqlx::query("DELETE FROM products WHERE id = 1").execute(&pool).await.unwrap();
    assert_eq!(shop.order_under("key").await.is_problem(422).fields(), ["items[0].product_id"]);
    shop.close().await;
}

#[tokio::test]
async fn of_many_who_take_over_an_expired_key_at_once_one_does() {
    let (shop, database) = Shop::open().await;
    let pool = database.pool().await;
    let expired = shop.order_under("key").await.order_id();
    age_all(&pool, "24 hours").await;
    let answers = join_all((0..40).map(|_| shop.order_under("key"))).await;
    let ids: BTreeSet<String> = answers.iter().map(Answer::order_id).collect();
    assert!(ids.len() == 1 && !ids.contains(&expired), "{ids:?}");
    assert_eq!(answers.iter().filter(|answer| !answer.replayed).count(), 1);
    assert_eq!(rows(&pool).await, (2, 2, 2));
    shop.close().await;
}

#[tokio::test]
async fn the_time_is_a_setting() {
    let database = Servers::shared().await.database("orders").await;
    let shop = Shop::open_at(database.url(), NOWHERE, &["--idempotency-ttl", "2h"]).await;
    shop.ready().await;
    let pool = database.pool().await;
    shop.order_under("key").await.order_id();
    age_all(&pool, "1 hour 55 minutes").await;
    assert!(shop.order_under("key").await.replayed);
    age_all(&pool, "5 minutes").await;
    assert!(!shop.order_under("key").await.replayed);
    shop.close().await;
}

#[tokio::test]
async fn shops_remove_expired_keys_together_and_wait_for_nobody() {
    let database = Servers::shared().await.database("orders").await.migrated().await;
    let pool = database.pool().await;
    // More than two batches, and some that are still good.
    sqlx::query(
        "INSERT INTO idempotency_keys (key, fingerprint, order_id, created_at)
         SELECT 'old-' || n, sha256('x'), gen_random_uuid(), now() - interval '25 hours' FROM generate_series(1, 2500) AS n
         UNION ALL
         SELECT 'new-' || n, sha256('x'), gen_random_uuid(), now() - interval '23 hours' FROM generate_series(1, 10) AS n",
    )
    .execute(&pool)
    .await
    .unwrap();
    let mut busy = pool.begin().await.unwrap();
    sqlx::raw_sql("SET LOCAL idle_in_transaction_session_timeout = 0; SELECT FROM idempotency_keys WHERE key = 'old-1' FOR UPDATE")
        .execute(&mut *busy)
        .await
        .unwrap();

    let shops = [
        Shop::open_at(database.url(), NOWHERE, &[]).await,
        Shop::open_at(database.url(), NOWHERE, &[]).await,
    ];
    let left = eventually("all but the locked key of the expired ones are gone", async || {
        let left: Vec<String> = sqlx::query_scalar("SELECT key FROM idempotency_keys ORDER BY key")
            .fetch_all(&pool)
            .await
            .unwrap();
        if left.len() <= 11 { Ok(left) } else { Err(format!("{} keys left", left.len())) }
    })
    .await;
    assert_eq!(left.len(), 11, "{left:?}");
    assert_eq!(left.iter().filter(|key| key.starts_with("new-")).count(), 10, "{left:?}");
    assert!(left.contains(&"old-1".to_owned()), "{left:?}");
    busy.commit().await.unwrap();
    for shop in shops {
        shop.close().await;
    }
}
