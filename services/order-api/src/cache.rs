//! The product cache: cache-aside in Redis, one load per product at a time, and no failure of its own. What Redis had is kept in memory as well, for as
//! long as [`crate::near`] says.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::extract::State;
use moka::future::Cache;
use product_cache::Entry;
use redis::pipe;
use service_runtime::Problem;
use service_runtime::http::Json;
use storefront::CacheStats;
use telemetry::span::{Call, SpanKind, attribute, names};
use tracing::warn;

use crate::Shop;
use crate::config::CacheSettings;
use crate::metrics::CacheMetrics;
use crate::near::Near;
use crate::redis_link::RedisLink;

/// Says on the span of a request whether the cache knew.
const CACHE: &str = "orderflow.cache";

/// `GET /api/cache/stats`.
pub(crate) async fn stats(State(shop): State<Shop>) -> Json<CacheStats> {
    Json(shop.cache.stats())
}

/// What a read found.
pub(crate) struct Found {
    /// The product, or that there is none.
    pub(crate) entry: Arc<Entry>,
    /// Whether the cache knew, in memory or in Redis.
    pub(crate) from_cache: bool,
}

pub(crate) struct ProductCache {
    near: Arc<Near>,
    redis: RedisLink,
    ttl: Duration,
    negative_ttl: Duration,
    /// Loads under way. Holds nothing once a load is done: what may be stale lives in Redis, under a time to live that everybody sees, and in memory only
    /// while Redis is heard.
    loads: Cache<i32, Arc<Entry>>,
    metrics: CacheMetrics,
}

impl ProductCache {
    pub(crate) fn new(settings: &CacheSettings) -> anyhow::Result<Self> {
        let near = Near::new(settings.lease);
        let redis = RedisLink::new(&settings.redis_url, settings.timeout, settings.cool_down, near.clone())
            .context("REDIS_URL cannot be used")?;
        Ok(Self {
            near,
            redis,
            ttl: settings.ttl,
            negative_ttl: settings.negative_ttl,
            // A caller that goes away between its load and the clean-up leaves the product behind; this is how long.
            loads: Cache::builder().max_capacity(10_000).time_to_live(Duration::from_secs(1)).build(),
            metrics: CacheMetrics::default(),
        })
    }

    /// The product from memory, from Redis, or else from `load`, which is called once for all who wait for the same product.
    pub(crate) async fn get(
        &self,
        id: i32,
        load: impl AsyncFnOnce() -> Result<Entry, Problem>,
    ) -> Result<Found, Problem> {
        let near = self.near.get(id);
        if near.is_some() {
            self.metrics.near_hits.inc();
        }
        let known = match near {
            Some(entry) => Some(entry),
            None => self.read(id).await,
        };
        if let Some(entry) = known {
            self.metrics.hits.inc();
            telemetry::annotate(CACHE, "hit");
            return Ok(Found { entry, from_cache: true });
        }
        self.metrics.misses.inc();
        telemetry::annotate(CACHE, "miss");
        let fill = async {
            self.metrics.loads.inc();
            let entry = load().await?;
            self.write(id, &entry).await;
            Ok(Arc::new(entry))
        };
        let loaded = self.loads.try_get_with(id, fill).await;
        self.loads.invalidate(&id).await;
        let entry = loaded.map_err(|problem: Arc<Problem>| Problem::clone(&problem))?;
        Ok(Found { entry, from_cache: false })
    }

    /// What is counted of it.
    pub(crate) fn metrics(&self) -> &CacheMetrics {
        &self.metrics
    }

    /// Whether Redis is used at the moment.
    pub(crate) fn is_up(&self) -> bool {
        self.redis.is_up()
    }

    /// `None`: Redis does not know, or is away.
    async fn read(&self, id: i32) -> Option<Arc<Entry>> {
        let mut call = command("GET");
        let Some(((stored, left), ticket)) =
            self.redis.run::<(Option<Vec<u8>>, i64)>(&product_cache::read(id)).await
        else {
            call.failed("away", "Redis did not answer, or is left alone since it did not");
            return None;
        };
        match Entry::parse(&stored?) {
            Ok(entry) => {
                let entry = Arc::new(entry);
                // What never expires is none of ours.
                let left = Duration::from_millis(u64::try_from(left).unwrap_or_default());
                self.near.keep(ticket, id, &entry, left);
                Some(entry)
            }
            Err(error) => {
                warn!(%error, product.id = id, "the cache holds something that is no product, loading it anew");
                None
            }
        }
    }

    /// Stores a product, or that there is none, unless Redis has a newer version: then somebody changed the product since it was loaded.
    async fn write(&self, id: i32, entry: &Entry) {
        let ttl = if entry.json().is_some() { self.ttl } else { self.negative_ttl };
        // A fill that fails is a miss for the next reader.
        let _call = command("EVAL");
        let _: Option<((bool,), _)> =
            self.redis.run(pipe().add_command(product_cache::store(id, entry, ttl))).await;
    }

    /// Whether Redis answers.
    pub(crate) async fn check(&self) -> Result<(), String> {
        self.redis.check().await
    }

    pub(crate) fn stats(&self) -> CacheStats {
        CacheStats::new(self.metrics.hits.get(), self.metrics.misses.get())
    }
}

/// A command as a span, by OpenTelemetry's conventions for Redis.
fn command(name: &'static str) -> Call {
    Call::here(name, SpanKind::Client, || {
        vec![attribute(names::DB_SYSTEM_NAME, "redis"), attribute(names::DB_OPERATION_NAME, name)]
    })
}

#[cfg(test)]
mod tests;
