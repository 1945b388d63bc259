//! Storing on a real Redis.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use contracts::Money;
use product_cache::{Entry, id_of, key, read, store};
use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use storefront::Product;
use testkit::Servers;

const TTL: Duration = Duration::from_secs(100);

async fn redis() -> MultiplexedConnection {
    let url = Servers::shared().await.redis_database().await;
    redis::Client::open(url).unwrap().get_multiplexed_async_connection().await.unwrap()
}

fn entry(version: u64) -> Entry {
    let name = format!("as of {version}");
    let product = Product { id: 7, name, price: Money::ZERO, description: String::new() };
    Entry::product(version, &product).unwrap()
}

async fn put(redis: &mut MultiplexedConnection, entry: &Entry) -> bool {
    store(7, entry, TTL).query_async(redis).await.unwrap()
}

async fn stored(redis: &mut MultiplexedConnection) -> (u64, i64) {
    let (stored, left): (Option<Vec<u8>>, i64) = read(7).query_async(redis).await.unwrap();
    (Entry::parse(&stored.unwrap()).unwrap().version(), left)
}

#[tokio::test]
async fn an_older_version_is_refused_and_a_newer_or_the_same_one_is_taken() {
    let mut redis = redis().await;
    for (version, taken, then) in
        [(9, true, 9), (10, true, 10), (9, false, 10), (10, true, 10), (100, true, 100), (20, false, 100)]
    {
        assert_eq!(put(&mut redis, &entry(version)).await, taken, "{version}");
        assert_eq!(stored(&mut redis).await.0, then);
    }
}

#[tokio::test]
async fn that_there_is_no_product_does_not_replace_one_and_is_replaced_by_one() {
    let mut redis = redis().await;
    assert!(put(&mut redis, &Entry::none()).await);
    assert!(put(&mut redis, &entry(1)).await);
    assert!(!put(&mut redis, &Entry::none()).await);
    assert_eq!(stored(&mut redis).await.0, 1);
}

#[tokio::test]
async fn what_is_no_entry_is_replaced_by_any() {
    let mut redis = redis().await;
    let _: () = redis.set(key(7), "{\"id\":").await.unwrap();
    assert!(put(&mut redis, &Entry::none()).await);
    assert_eq!(stored(&mut redis).await.0, 0);
}

#[tokio::test]
async fn an_entry_lives_for_the_time_that_was_asked_for_or_up_to_a_fifth_less() {
    let mut redis = redis().await;
    for _ in 0..20 {
        put(&mut redis, &entry(1)).await;
        let (_, left) = stored(&mut redis).await;
        assert!((60_000..=100_000).contains(&left), "{left}");
    }
}

#[test]
fn a_key_leads_back_to_its_product_and_others_to_none() {
    assert_eq!(id_of(key(7).as_bytes()), Some(7));
    assert_eq!(id_of(key(i32::MIN).as_bytes()), Some(i32::MIN));
    for other in ["product:v1:7", "product:v2:", "product:v2:x", "7"] {
        assert_eq!(id_of(other.as_bytes()), None, "{other}");
    }
}
