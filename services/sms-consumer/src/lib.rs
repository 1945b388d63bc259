//! Confirms orders by text message over HTTP.

mod config;
mod gateway;
mod handler;

use std::sync::Arc;

use anyhow::Context;
use consumer_service::{ConsumerService, Group};
use contracts::decode_order_created;
use persistence::deliveries::{self, Deliveries};
use sqlx::migrate::Migrator;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use config::Config;
pub use gateway::{Gateway, NoClient, SendError};
pub use handler::Confirmations;

static MIGRATIONS: Migrator = sqlx::migrate!("../../migrations/sms");

/// Those of the deliveries, and others for the operator's word, for health and for housekeeping.
const DATABASE_CONNECTIONS: u32 = deliveries::CONNECTIONS + 2;

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
    let (deliveries, work) = Deliveries::new(&service.pool(), config.in_flight.into());
    let handler = Confirmations::new(deliveries, Arc::clone(&gateway));
    service
        .beside("deliveries", async { Ok(work.await?) })
        .dependency("gateway", move || gateway.state())
        .run(decode_order_created, handler, listener, shutdown)
        .await
}
