//! The shop as it is often built first: one process, one database, and a caller who waits for every step.
//!
//! It answers the same HTTP contract as order-api. What it costs to wait is real work on the same Postgres plus the latencies
//! that [`Costs`] injects, so that the two systems can be compared on one machine.

mod catalogue;
mod config;
mod order;
mod place_order;
mod store;

use axum::Router;
use axum::routing::{get, post};
use service_runtime::health::Health;
use service_runtime::http::{self, Limits};
use service_runtime::scrape;
use service_runtime::supervise::Supervisor;
use sqlx::PgPool;
use telemetry::metrics::Metrics;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use config::{Config, Costs};

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("../../migrations/baseline");

/// What every request may use.
#[derive(Clone)]
struct Shop {
    pool: PgPool,
    costs: Costs,
}

/// Serves until `shutdown`.
pub async fn run(config: Config, listener: TcpListener, shutdown: CancellationToken) -> anyhow::Result<()> {
    let pool =
        persistence::pool::connect_lazy(&config.database_url, config.database_connections, "baseline")?;
    let health = health(&pool);
    let shop = Shop { pool: pool.clone(), costs: config.costs };
    let metrics = Metrics::new();
    persistence::metrics::pools(&metrics, &[("baseline", &pool)]);
    let routes = routes(shop).merge(health.routes()).merge(scrape::routes(&metrics, &health));
    let routes = http::harden(routes, Limits::default(), &metrics);

    let mut supervisor = Supervisor::new(shutdown.clone());
    supervisor.spawn("http", http::serve(listener, routes, shutdown.clone()));
    supervisor.spawn("migrations", async move {
        tokio::select! {
            migrated = persistence::pool::migrate_when_available(&pool, &MIGRATIONS) => migrated?,
            () = shutdown.cancelled() => return Ok(()),
        }
        health.set_ready(true);
        shutdown.cancelled().await;
        Ok(())
    });
    supervisor.run().await
}

fn routes(shop: Shop) -> Router {
    Router::new()
        .route("/api/product/{id}", get(catalogue::product))
        .route("/api/products/{id}", get(catalogue::product))
        .route("/api/products", get(catalogue::page))
        .route("/api/cache/stats", get(catalogue::cache_stats))
        .route("/api/order", post(place_order::place_order))
        .route("/api/orders", post(place_order::place_order))
        .route("/api/orders/{id}", get(order::order))
        .with_state(shop)
}

fn health(pool: &PgPool) -> Health {
    let pool = pool.clone();
    Health::builder("baseline")
        .required("postgres", move || {
            let pool = pool.clone();
            async move { persistence::pool::ping(&pool).await.map_err(|error| error.to_string()) }
        })
        .not_ready_yet()
        .build()
}
