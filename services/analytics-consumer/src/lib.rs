//! Counts orders and revenue per minute and the best-selling products: one consumer group with a database of its own.

mod config;
mod handler;
mod queries;
mod store;

use anyhow::Context;
use consumer_service::{ConsumerService, Group};
use contracts::decode_order_created;
use sqlx::migrate::Migrator;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use config::Config;
pub use handler::Analytics;

static MIGRATIONS: Migrator = sqlx::migrate!("../../migrations/analytics");

/// Consumes and answers queries until `shutdown`.
pub async fn run(config: Config, listener: TcpListener, shutdown: CancellationToken) -> anyhow::Result<()> {
    let group = Group {
        service: "analytics-consumer",
        name: config.group,
        topic: config.topic,
        migrations: &MIGRATIONS,
    };
    let mut service =
        ConsumerService::new(group, config.consumer, &config.database_url, config.database_connections)
            .context("ANALYTICS_DATABASE_URL")?;
    service.settings.batch_records = config.batch.into();
    let pool = service.pool();
    let analytics = Analytics::new(pool.clone());
    analytics.register(service.metrics());
    service
        .routes(queries::routes(pool))
        .run_batches(decode_order_created, analytics, listener, shutdown)
        .await
}
