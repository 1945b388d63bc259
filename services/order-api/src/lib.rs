//! Accepts orders and answers product reads.
//!
//! An order that was answered with a 2xx is durable together with the event about it; everything that follows from it happens
//! elsewhere. This process knows Postgres and Redis, and can do without the second.

mod admission;
mod cache;
mod catalogue;
mod config;
mod idempotency;
mod metrics;
mod near;
mod order;
mod order_writer;
mod patience;
mod place_order;
mod prices;
mod product;
mod redis_link;
mod routes;
mod store;

use std::sync::Arc;
use std::time::Duration;

use persistence::grouped::{GroupLimits, Grouped, grouped};
use persistence::outbox::Poke;
use persistence::pool;
use persistence::sql::Shared;
use service_runtime::health::Health;
use service_runtime::http::{self, Limits};
use service_runtime::scrape;
use service_runtime::supervise::Supervisor;
use sqlx::PgPool;
use telemetry::metrics::Metrics;
use tokio::net::TcpListener;
use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;

use self::admission::Admission;
use self::cache::ProductCache;
pub use self::config::{CacheSettings, Config};
use self::metrics::OrderMetrics;
use self::order_writer::{OrderRows, OrderWriter, Written};
pub use self::patience::Patience;
use self::prices::{PriceReader, Prices};

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("../../migrations/orders");

/// Orders in one statement, at most. More of them make no order cheaper, and each waits for more others.
const LARGEST_GROUP: usize = 128;
/// Groups of orders that are written at a time: while the disk flushes one, the other is planned and written.
const ORDER_LANES: usize = 2;
/// Groups of orders that are priced at a time.
const PRICE_LANES: usize = 2;

/// From one group of several orders to the next. An order does not wait for it unless there was such a group a moment ago; of a thousand a second, more
/// share a statement with it than without, and the processors are free for those behind.
const PACE: Duration = Duration::from_millis(5);

/// What every request may use.
#[derive(Clone)]
struct Shop {
    /// For reads. A pool of their own: a flood of orders must not make products unreadable, nor the other way round.
    reads: PgPool,
    /// For taking orders.
    writes: PgPool,
    prices: Grouped<Vec<i32>, Shared<Prices>>,
    orders: Grouped<OrderRows, Shared<Written>>,
    admission: Admission,
    patience: Patience,
    cache: Arc<ProductCache>,
    /// How long a key stands for its order.
    idempotency_ttl: Duration,
    metrics: OrderMetrics,
}

/// Serves until `shutdown`. It answers from the first moment; it is ready once the database is up to date and the connections to it are open.
pub async fn run(config: Config, listener: TcpListener, shutdown: CancellationToken) -> anyhow::Result<()> {
    let reads = pool::connect_lazy(&config.database_url, config.read_connections, "order-api read")?;
    let writes =
        pool::connect_lazy_planned_once(&config.database_url, config.write_connections, "order-api write")?;
    let cache = Arc::new(ProductCache::new(&config.cache)?);
    let health = health(&reads, &cache);
    let (poke, poker) = Poke::new(&config.database_url, "order-api poke")?;
    let (most, patience) = (usize::from(config.orders_at_once), config.patience);
    let admission = Admission::new(most);
    // Room for all that are admitted. An order whose caller has gone keeps its room until its turn.
    let limits = |lanes| GroupLimits { lanes, largest: LARGEST_GROUP, waiting: most, pace: PACE };
    let (prices, price_lanes) =
        grouped(PriceReader { pool: writes.clone(), patience: patience.read }, limits(PRICE_LANES));
    let writer = OrderWriter { pool: writes.clone(), poke, patience: patience.write };
    let (orders, order_lanes) = grouped(writer, limits(ORDER_LANES));
    let idempotency_ttl = config.idempotency_ttl;
    let metrics = Metrics::new();
    persistence::metrics::pools(&metrics, &[("read", &reads), ("write", &writes)]);
    cache.metrics().register(&metrics, &cache);
    let order_metrics = OrderMetrics::new(&metrics, &admission);
    let shop = Shop {
        reads: reads.clone(),
        writes: writes.clone(),
        prices,
        orders,
        admission,
        patience,
        cache,
        idempotency_ttl,
        metrics: order_metrics,
    };
    let routes = routes::routes(shop).merge(health.routes()).merge(scrape::routes(&metrics, &health));
    let routes = http::harden(routes, Limits::default(), &metrics);

    let mut supervisor = Supervisor::new(shutdown.clone());
    // Once nobody is served any more, nobody waits for a lane.
    let served = CancellationToken::new();
    let serving = http::serve(listener, routes, shutdown.clone());
    let ended = served.clone().drop_guard();
    supervisor.spawn("http", async move {
        let _ended = ended;
        serving.await
    });
    supervisor.spawn("price lanes", until(served.clone(), price_lanes.run()));
    supervisor.spawn("order lanes", until(served, order_lanes.run()));
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

/// Runs `lanes` until they end, or until `served`.
async fn until(
    served: CancellationToken,
    lanes: impl Future<Output = Result<(), JoinError>>,
) -> anyhow::Result<()> {
    served.run_until_cancelled(lanes).await.unwrap_or(Ok(())).map_err(Into::into)
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
