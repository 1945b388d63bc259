//! Accepts orders and answers product reads.
//!
//! An order that was answered with a 2xx is durable together with the event about it; everything that follows from it happens
//! elsewhere. This process knows Postgres and Redis, and can do without the second.

mod cache;
mod catalogue;
mod config;
mod idempotency;
mod metrics;
mod near;
mod order;
mod place_order;
mod product;
mod redis_link;
mod routes;
mod store;

use std::sync::Arc;
use std::time::Duration;

use persistence::outbox::Poke;
use persistence::pool;
use service_runtime::health::Health;
use service_runtime::http::{self, Limits};
use service_runtime::scrape;
use service_runtime::supervise::Supervisor;
use sqlx::PgPool;
use telemetry::metrics::Metrics;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use self::cache::ProductCache;
pub use self::config::{CacheSettings, Config};
use self::metrics::OrderMetrics;

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("../../migrations/orders");

/// What every request may use.
#[derive(Clone)]
struct Shop {
    /// For reads. A pool of their own: a flood of orders must not make products unreadable, nor the other way round.
    reads: PgPool,
    /// For taking orders.
    writes: PgPool,
    /// Wakes the relay once an order is committed.
    poke: Poke,
    cache: Arc<ProductCache>,
    /// How long a key stands for its order.
    idempotency_ttl: Duration,
    metrics: OrderMetrics,
}

/// Serves until `shutdown`. It answers from the first moment; it is ready once the database is up to date and the connections to it are open.
pub async fn run(config: Config, listener: TcpListener, shutdown: CancellationToken) -> anyhow::Result<()> {
    let reads = pool::connect_lazy(&config.database_url, config.read_connections, "order-api read")?;
    let writes = pool::connect_lazy(&config.database_url, config.write_connections, "order-api write")?;
    let cache = Arc::new(ProductCache::new(&config.cache)?);
    let health = health(&reads, &cache);
    let (poke, poker) = Poke::new(&config.database_url, "order-api poke")?;
    let idempotency_ttl = config.idempotency_ttl;
    let metrics = Metrics::new();
    persistence::metrics::pools(&metrics, &[("read", &reads), ("write", &writes)]);
    cache.metrics().register(&metrics, &cache);
    let shop = Shop {
        reads: reads.clone(),
        writes: writes.clone(),
        poke,
        cache,
        idempotency_ttl,
        metrics: OrderMetrics::new(&metrics),
    };
    let routes = routes::routes(shop).merge(health.routes()).merge(scrape::routes(&metrics, &health));
    let routes = http::harden(routes, Limits::default(), &metrics);

    let mut supervisor = Supervisor::new(shutdown.clone());
    supervisor.spawn("http", http::serve(listener, routes, shutdown.clone()));
    supervisor.spawn("poker", {
        let shutdown = shutdown.clone();
        async move {
            tokio::select! {
                () = poker.run() => {}
                () = shutdown.cancelled() => {}
            }
            Ok(())
        }
    });
    supervisor.spawn("migrations, then housekeeping", async move {
        let prepare = async {
            pool::migrate_when_available(&writes, &MIGRATIONS).await?;
            tokio::join!(pool::fill(&reads), pool::fill(&writes));
            anyhow::Ok(())
        };
        tokio::select! {
            prepared = prepare => prepared?,
            () = shutdown.cancelled() => return Ok(()),
        }
        health.set_ready(true);
        idempotency::keep_house(&writes, idempotency_ttl, &shutdown).await;
        Ok(())
    });
    supervisor.run().await
}

fn health(reads: &PgPool, cache: &Arc<ProductCache>) -> Health {
    let (reads, cache) = (reads.clone(), cache.clone());
    Health::builder("order-api")
        .required("postgres", move || {
            let reads = reads.clone();
            async move { pool::ping(&reads).await.map_err(|_| "the database does not answer".to_owned()) }
        })
        .optional("redis", move || {
            let cache = cache.clone();
            async move { cache.check().await }
        })
        .not_ready_yet()
        .build()
}
