//! Confirms orders by e-mail over SMTP.

mod config;
mod confirmation;
mod handler;
mod mailer;
mod server;
mod store;

use std::sync::Arc;

use anyhow::Context;
use contracts::decode_order_created;
use messaging::consumer::{self, ConsumerSettings, ConsumerStatus};
use persistence::pool;
use service_runtime::health::Health;
use service_runtime::http::{self, Limits};
use service_runtime::supervise::Supervisor;
use service_runtime::telemetry;
use sqlx::PgPool;
use sqlx::migrate::Migrator;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use config::Config;
pub use confirmation::{Unwritable, confirmation, message_id};
pub use handler::Confirmations;
pub use mailer::{Mailer, SendError};
pub use server::{BadSmtpUrl, SmtpServer};

static MIGRATIONS: Migrator = sqlx::migrate!("../../migrations/email");

/// A delivery holds a connection for a moment before and after its call of the provider, and none meanwhile.
const DATABASE_CONNECTIONS: u32 = 8;

/// Consumes order events until `shutdown`; `listener` is for the health routes.
pub async fn run(config: Config, listener: TcpListener, shutdown: CancellationToken) -> anyhow::Result<()> {
    let pool = pool::connect_lazy(&config.database_url, DATABASE_CONNECTIONS, "email-consumer")
        .context("EMAIL_DATABASE_URL")?;
    let mailer = Arc::new(Mailer::new(config.smtp, config.smtp_timeout).keeping(config.in_flight.into()));
    let status = ConsumerStatus::default();
    let health = health(&pool, &status, &mailer);

    let mut settings = ConsumerSettings::new(config.kafka, config.retry, config.group, config.topic);
    settings.continue_trace = telemetry::continue_trace;
    settings.guard = config.guard;
    settings.in_flight = config.in_flight.into();
    let handler = Confirmations::new(pool.clone(), mailer, config.from);

    let mut supervisor = Supervisor::new(shutdown.clone());
    let router = http::harden(health.routes(), Limits::default());
    supervisor.spawn("http", http::serve(listener, router, shutdown.clone()));
    supervisor.spawn("consumer", async move {
        tokio::select! {
            migrated = pool::migrate_when_available(&pool, &MIGRATIONS) => migrated?,
            () = shutdown.cancelled() => return Ok(()),
        }
        health.set_ready(true);
        consumer::run(settings, decode_order_created, handler, status, shutdown).await?;
        Ok(())
    });
    supervisor.run().await
}

/// The provider is no part of readiness: while it is away there is nothing better to do than to wait for it.
fn health(pool: &PgPool, status: &ConsumerStatus, mailer: &Arc<Mailer>) -> Health {
    let (pool, kafka, live, flow) = (pool.clone(), status.clone(), status.clone(), status.clone());
    let mailer = Arc::clone(mailer);
    Health::builder("email-consumer")
        .required("postgres", move || {
            let pool = pool.clone();
            async move { pool::ping(&pool).await.map_err(|error| error.to_string()) }
        })
        .required("kafka", move || std::future::ready(kafka.ready()))
        .optional("smtp", move || std::future::ready(mailer.state()))
        .optional("intake", move || std::future::ready(flow.flowing()))
        .live("consumer", move || live.is_live())
        .not_ready_yet()
        .build()
}
