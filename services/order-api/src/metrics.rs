//! Metrics of the order API.

use std::sync::Arc;

use telemetry::metrics::{Counter, Counters, Metrics};

use crate::admission::Admission;
use crate::cache::ProductCache;

/// What became of orders.
#[derive(Clone, Debug)]
pub(crate) struct OrderMetrics {
    pub(crate) orders: Counters<1>,
}

impl OrderMetrics {
    pub(crate) fn new(metrics: &Metrics, admission: &Admission) -> Self {
        let admission = admission.clone();
        let help = "Orders that are taken at this moment";
        metrics.gauge("orders_under_way", help, move || admission.under_way() as f64);
        let orders = Counters::new(["outcome"])
            .with(["accepted"])
            .with(["repeated"])
            .with(["refused"])
            .with(["failed"])
            .with(["unknown"])
            .with(["overloaded"]);
        let help = "Orders by what became of them: accepted, repeated under its idempotency key, refused, failed before \
                    anything was written, unknown because the database went away while it wrote, or the caller before the answer, \
                    overloaded because as many were under way as may";
        orders.register(metrics, "orders", help);
        Self { orders }
    }
}

/// Reads of products.
#[derive(Clone, Debug)]
pub(crate) struct CacheMetrics {
    reads: Counters<1>,
    pub(crate) hits: Counter,
    /// Those of the hits for which nobody asked Redis.
    pub(crate) near_hits: Counter,
    pub(crate) misses: Counter,
    pub(crate) loads: Counter,
}

impl Default for CacheMetrics {
    fn default() -> Self {
        let reads = Counters::new(["result"]);
        let (hits, misses) = (reads.get(["hit".into()]), reads.get(["miss".into()]));
        Self { reads, hits, near_hits: Counter::default(), misses, loads: Counter::default() }
    }
}

impl CacheMetrics {
    pub(crate) fn register(&self, metrics: &Metrics, cache: &Arc<ProductCache>) {
        self.reads.register(
            metrics,
            "product_cache_reads",
            "Product reads, by whether the cache knew the product",
        );
        let help = "Product reads answered from the memory of the process; part of the hits";
        metrics.register("product_cache_near_hits", help, self.near_hits.clone());
        let help =
            "Products read from the database for the cache; fewer than misses, since readers share them";
        metrics.register("product_cache_loads", help, self.loads.clone());
        let cache = Arc::downgrade(cache);
        metrics.gauge("product_cache_up", "1 while Redis is used, 0 while it is left alone", move || {
            f64::from(u8::from(cache.upgrade().is_some_and(|cache| cache.is_up())))
        });
    }
}
