//! Stands in for the e-mail and text-message companies: an SMTP endpoint and an HTTP endpoint with settable latency,
//! failures and lost answers, which honour idempotency keys and remember every delivery.

mod api;
pub mod channel;
mod config;
pub mod journal;
pub mod ledger;
mod listing;
pub mod mask;
mod page;
pub mod provider;
pub mod settings;
mod sms;
pub mod smtp;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::routing::{get, post};
use service_runtime::health::Health;
use service_runtime::http;
use service_runtime::scrape;
use service_runtime::supervise::Supervisor;
use telemetry::metrics::Metrics;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use config::Config;
use provider::Provider;
use settings::MAX_LATENCY_MS;

/// Serves until `shutdown`; `listener` is the HTTP endpoint.
pub async fn run(config: Config, listener: TcpListener, shutdown: CancellationToken) -> anyhow::Result<()> {
    let smtp = TcpListener::bind(config.smtp_addr)
        .await
        .with_context(|| format!("cannot listen on {} (PROVIDER_SIM_SMTP_ADDR)", config.smtp_addr))?;
    serve(&config.journal, listener, smtp, smtp::Limits::default(), shutdown).await
}

/// Serves on listeners that are bound already, so that a test can choose free ports.
pub async fn serve(
    journal: &Path,
    http: TcpListener,
    smtp: TcpListener,
    limits: smtp::Limits,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let provider = Arc::new(Provider::open(journal)?);
    let router = routes(Arc::clone(&provider));
    let mut supervisor = Supervisor::new(shutdown.clone());
    supervisor.spawn("smtp", smtp::serve(smtp, provider, limits, shutdown.clone()));
    supervisor.spawn("http", http::serve(http, router, shutdown));
    supervisor.run().await
}

fn routes(provider: Arc<Provider>) -> Router {
    let books = Arc::clone(&provider);
    let health = Health::builder("provider-sim")
        .required("journal", move || {
            let state = books.journal_state();
            async move { state }
        })
        .build();
    let metrics = Metrics::new();
    provider.register(&metrics);
    let router = Router::new()
        .route("/", get(page::get))
        .route("/sms", post(sms::post))
        .route("/api/deliveries", get(api::totals))
        .route("/api/deliveries/{order_id}", get(api::order))
        .route("/api/journal", get(listing::get))
        .route("/api/settings", get(api::settings).put(api::change_settings))
        .with_state(provider)
        .merge(health.routes())
        .merge(scrape::routes(&metrics, &health));
    // The longest latency that can be set, and some time for the answer.
    let request_time = Duration::from_millis(MAX_LATENCY_MS) + Duration::from_secs(5);
    http::harden(router, http::Limits { request_time, ..http::Limits::default() }, &metrics)
}
