//! Confirms orders by text message over HTTP.

mod config;
mod gateway;
mod handler;
mod store;

use std::sync::Arc;

use anyhow::Context;
use consumer_service::{ConsumerService, Group};
use contracts::decode_order_created;
use sqlx::migrate::Migrator;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use config::Config;
pub use gateway::{Gateway, NoClient, SendError};
pub use handler::Confirmations;

static MIGRATIONS: Migrator = sqlx::migrate!("../../migrations/sms");

/// A delivery holds a connection for a moment before and after its call of the provider, and none meanwhile.
const DATABASE_CONNECTIONS: u32 = 8;

/// Consumes order events until `shutdown`; `listener` is for the health routes.
pub async fn run(config: Config, listener: TcpListener, shutdown: CancellationToken) -> anyhow::Result<()> {
    let group =
        Group { service: "sms-consumer", name: config.group, topic: config.topic, migrations: &MIGRATIONS };
    let mut service =
        ConsumerService::new(group, config.consumer, &config.database_url, DATABASE_CONNECTIONS)
            .context("SMS_DATABASE_URL")?;
    service.settings.in_flight = config.in_flight.into();
    let gateway = Gateway::new(config.gateway_url, config.gateway_token.as_ref(), config.gateway_timeout)?;
    gateway.calls().register(service.metrics());
    let gateway = Arc::new(gateway);
    let handler = Confirmations::new(service.pool(), Arc::clone(&gateway));
    service
        .dependency("gateway", move || gateway.state())
        .run(decode_order_created, handler, listener, shutdown)
        .await
}
