//! Confirms orders by e-mail over SMTP.

mod config;
mod confirmation;
mod handler;
mod mailer;
mod server;
mod session;

use std::sync::Arc;

use anyhow::Context;
use consumer_service::{ConsumerService, Group};
use contracts::decode_order_created;
use persistence::deliveries::{self, Deliveries};
use sqlx::migrate::Migrator;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use config::Config;
pub use confirmation::{Unwritable, confirmation, message_id};
pub use handler::Confirmations;
pub use mailer::{Mailer, SendError};
pub use server::{BadSmtpUrl, SmtpServer};

static MIGRATIONS: Migrator = sqlx::migrate!("../../migrations/email");

/// Those of the deliveries, and others for the operator's word, for health and for housekeeping.
const DATABASE_CONNECTIONS: u32 = deliveries::CONNECTIONS + 2;

/// Consumes order events until `shutdown`; `listener` is for the health routes.
pub async fn run(config: Config, listener: TcpListener, shutdown: CancellationToken) -> anyhow::Result<()> {
    let group =
        Group { service: "email-consumer", name: config.group, topic: config.topic, migrations: &MIGRATIONS };
    let mut service =
        ConsumerService::new(group, config.consumer, &config.database_url, DATABASE_CONNECTIONS)
            .context("EMAIL_DATABASE_URL")?;
    service.settings.in_flight = config.in_flight.into();
    let mailer = Mailer::new(config.smtp, config.smtp_timeout).keeping(config.in_flight.into());
    mailer.calls().register(service.metrics());
    let mailer = Arc::new(mailer);
    let (deliveries, work) = Deliveries::new(&service.pool(), config.in_flight.into());
    let handler = Confirmations::new(deliveries, Arc::clone(&mailer), config.from);
    service
        .beside("deliveries", async { Ok(work.await?) })
        .dependency("smtp", move || mailer.state())
        .run(decode_order_created, handler, listener, shutdown)
        .await
}
