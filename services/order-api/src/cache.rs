//! The product cache: cache-aside in Redis, one load per product at a time, and no failure of its own.

use std::time::Duration;

use anyhow::Context;
use axum::extract::State;
use moka::future::Cache;
use redis::cmd;
use service_runtime::Problem;
use service_runtime::http::Json;
use storefront::{CacheStats, Product};
use telemetry::span::{Call, SpanKind, attribute, names};
use tracing::warn;

use crate::Shop;
use crate::config::CacheSettings;
use crate::metrics::CacheMetrics;
use crate::redis_link::RedisLink;

/// Version of what is stored under a key. A build that stores something else uses other keys.
const KEYS: &str = "product:v1:";
/// Says on the span of a request whether the cache knew.
const CACHE: &str = "orderflow.cache";

/// `GET /api/cache/stats`.
pub(crate) async fn stats(State(shop): State<Shop>) -> Json<CacheStats> {
    Json(shop.cache.stats())
}

/// What a read found.
pub(crate) struct Found {
    /// `None`: there is no such product.
    pub(crate) product: Option<Product>,
    /// Whether Redis knew.
    pub(crate) from_cache: bool,
}

pub(crate) struct ProductCache {
    redis: RedisLink,
    ttl: Duration,
    negative_ttl: Duration,
    /// Loads under way. Holds nothing once a load is done: what may be stale lives in Redis, under a time to live that everybody sees.
    loads: Cache<i32, Option<Product>>,
    metrics: CacheMetrics,
}

impl ProductCache {
    pub(crate) fn new(settings: &CacheSettings) -> anyhow::Result<Self> {
        let redis = RedisLink::new(&settings.redis_url, settings.timeout, settings.cool_down)
            .context("REDIS_URL cannot be used")?;
        Ok(Self {
            redis,
            ttl: settings.ttl,
            negative_ttl: settings.negative_ttl,
            // A caller that goes away between its load and the clean-up leaves the product behind; this is how long.
            loads: Cache::builder().max_capacity(10_000).time_to_live(Duration::from_secs(1)).build(),
            metrics: CacheMetrics::default(),
        })
    }

    /// The product from Redis, or else from `load`, which is called once for all who wait for the same product.
    pub(crate) async fn get(
        &self,
        id: i32,
        load: impl AsyncFnOnce() -> Result<Option<Product>, Problem>,
    ) -> Result<Found, Problem> {
        if let Some(product) = self.read(id).await {
            self.metrics.hits.inc();
            telemetry::annotate(CACHE, "hit");
            return Ok(Found { product, from_cache: true });
        }
        self.metrics.misses.inc();
        telemetry::annotate(CACHE, "miss");
        let fill = async {
            self.metrics.loads.inc();
            let product = load().await?;
            self.write(id, product.as_ref()).await;
            Ok(product)
        };
        let loaded = self.loads.try_get_with(id, fill).await;
        self.loads.invalidate(&id).await;
        let product = loaded.map_err(|problem: std::sync::Arc<Problem>| Problem::clone(&problem))?;
        Ok(Found { product, from_cache: false })
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
    async fn read(&self, id: i32) -> Option<Option<Product>> {
        let mut call = command("GET");
        let found: Option<Option<Vec<u8>>> = self.redis.run(cmd("GET").arg(key(id))).await;
        if found.is_none() {
            call.failed("away", "Redis did not answer, or is left alone since it did not");
        }
        let text = found?;
        match serde_json::from_slice(&text?) {
            Ok(product) => Some(product),
            Err(error) => {
                warn!(%error, product.id = id, "the cache holds something that is no product, loading it anew");
                None
            }
        }
    }

    /// Stores a product, or that there is none.
    async fn write(&self, id: i32, product: Option<&Product>) {
        let Ok(text) = serde_json::to_vec(&product) else { return };
        let ttl = if product.is_some() { self.ttl } else { self.negative_ttl };
        let milliseconds = (ttl.as_millis() as f64 * rand::random_range(0.8..=1.0)).max(1.0) as u64;
        // A fill that fails is a miss for the next reader.
        let _call = command("SET");
        let _: Option<()> =
            self.redis.run(cmd("SET").arg(key(id)).arg(text).arg("PX").arg(milliseconds)).await;
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

fn key(id: i32) -> String {
    format!("{KEYS}{id}")
}

#[cfg(test)]
mod tests;
