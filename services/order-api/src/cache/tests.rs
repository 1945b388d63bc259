use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use contracts::Money;
use storefront::{Product, refusals};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::*;

/// A cache whose Redis is away, so that every read comes to the load.
fn cache() -> Arc<ProductCache> {
    let second = Duration::from_secs(1);
    let settings = CacheSettings {
        redis_url: "redis://127.0.0.1:1".to_owned(),
        ttl: second,
        negative_ttl: second,
        timeout: second,
        cool_down: second,
        lease: second,
    };
    Arc::new(ProductCache::new(&settings).unwrap())
}

fn product(id: i32) -> Entry {
    let product = Product { id, name: String::new(), price: Money::ZERO, description: String::new() };
    Entry::product(1, &product).unwrap()
}

/// What a reader gets, as text; `None`: there is no product.
fn text(found: &Found) -> Option<String> {
    found.entry.json().map(|json| json.get().to_owned())
}

fn text_of(id: i32) -> Option<String> {
    product(id).json().map(|json| json.get().to_owned())
}

/// Waits until all readers were counted as misses: from then on they wait for the load or run it.
async fn all_missed(cache: &ProductCache, readers: u64) {
    let all = async {
        while cache.metrics.misses.get() < readers {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), all).await.expect("all readers miss");
}

#[tokio::test]
async fn readers_of_the_same_product_share_one_load() {
    let (cache, loads, gate) = (cache(), Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
    let mut readers = JoinSet::new();
    for _ in 0..100 {
        let (cache, loads, gate) = (cache.clone(), loads.clone(), gate.clone());
        readers.spawn(async move {
            let load = async || {
                loads.fetch_add(1, Ordering::Relaxed);
                let _open = gate.acquire().await;
                Ok(product(7))
            };
            text(&cache.get(7, load).await.unwrap())
        });
    }
    all_missed(&cache, 100).await;
    gate.add_permits(100);
    assert!(readers.join_all().await.into_iter().all(|found| found == text_of(7)));
    // The first group shares one; a reader that came to the door when it was just closing makes at most another.
    assert!(loads.load(Ordering::Relaxed) <= 2, "{loads:?} loads");
}

#[tokio::test]
async fn a_failed_load_fails_its_readers_and_is_not_remembered() {
    let cache = cache();
    let failed = cache.get(7, async || Err(refusals::cannot_read())).await;
    assert_eq!(failed.err().unwrap().status().as_u16(), 503);
    let found = cache.get(7, async || Ok(product(7))).await.unwrap();
    assert_eq!((text(&found), found.from_cache), (text_of(7), false));
}

#[tokio::test]
async fn a_load_is_not_remembered_either_when_redis_is_away() {
    let cache = cache();
    assert_eq!(text(&cache.get(7, async || Ok(Entry::none())).await.unwrap()), None);
    assert_eq!(text(&cache.get(7, async || Ok(product(7))).await.unwrap()), text_of(7));
}

#[tokio::test]
async fn a_reader_that_goes_away_while_it_loads_leaves_nobody_waiting() {
    let cache = cache();
    let first = tokio::spawn({
        let cache = cache.clone();
        async move { cache.get(7, async || std::future::pending().await).await.map(|found| text(&found)) }
    });
    all_missed(&cache, 1).await;
    let second = tokio::spawn({
        let cache = cache.clone();
        async move { text(&cache.get(7, async || Ok(product(7))).await.unwrap()) }
    });
    all_missed(&cache, 2).await;
    first.abort();
    let found = tokio::time::timeout(Duration::from_secs(30), second).await.expect("goes on").unwrap();
    assert_eq!(found, text_of(7));
}
