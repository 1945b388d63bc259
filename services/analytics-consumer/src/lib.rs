//! Counts orders and revenue per minute and the best-selling products: one consumer group with a database of its own.

mod config;
mod handler;
mod queries;
mod store;

use contracts::{decode_order_created, topics};
use messaging::consumer::{self, ConsumerSettings, ConsumerStatus};
use service_runtime::health::Health;
use service_runtime::http::{self, Limits};
use service_runtime::supervise::Supervisor;
use service_runtime::telemetry;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use config::Config;
pub use handler::Analytics;

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("../../migrations/analytics");

/// Consumes and answers queries until `shutdown`.
pub async fn run(config: Config, listener: TcpListener, shutdown: CancellationToken) -> anyhow::Result<()> {
    let pool = persistence::pool::connect_lazy(
        &config.database_url,
        config.database_connections,
        "analytics-consumer",
    )?;
    let status = ConsumerStatus::default();
    let health = health(&pool, &status);

    let mut settings =
        ConsumerSettings::new(config.kafka, config.retry, topics::ANALYTICS_GROUP, topics::ORDER_EVENTS);
    settings.continue_trace = telemetry::continue_trace;
    settings.guard = config.guard;
    settings.batch_records = config.batch.into();

    let routes = http::harden(queries::routes(pool.clone()).merge(health.routes()), Limits::default());
    let mut supervisor = Supervisor::new(shutdown.clone());
    supervisor.spawn("http", http::serve(listener, routes, shutdown.clone()));
    supervisor.spawn("consumer", async move {
        tokio::select! {
            migrated = persistence::pool::migrate_when_available(&pool, &MIGRATIONS) => migrated?,
            () = shutdown.cancelled() => return Ok(()),
        }
        health.set_ready(true);
        Ok(consumer::run_batches(settings, decode_order_created, Analytics::new(pool), status, shutdown)
            .await?)
    });
    supervisor.run().await
}

fn health(pool: &sqlx::PgPool, status: &ConsumerStatus) -> Health {
    let (pool, joined, flow, live) = (pool.clone(), status.clone(), status.clone(), status.clone());
    Health::builder("analytics-consumer")
        .required("postgres", move || {
            let pool = pool.clone();
            async move { persistence::pool::ping(&pool).await.map_err(|error| error.to_string()) }
        })
        .required("consumer group", move || std::future::ready(joined.ready()))
        .optional("intake", move || std::future::ready(flow.flowing()))
        .live("consumer", move || live.is_live())
        .not_ready_yet()
        .build()
}
