//! Publishes the outbox to Kafka: at least once, in order per key.
//!
//! Any number of relays may run. One holds the lease and works, the others wait for it to run out or to be given back.

mod config;
mod record;
mod relay;
mod status;

use std::time::Duration;

use service_runtime::health::Health;
use service_runtime::http::{self, Limits};
use service_runtime::supervise::Supervisor;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use config::Config;
pub use relay::{Relay, RelaySettings};
pub use status::RelayStatus;

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("../../migrations/orders");

/// Runs the relay and its health endpoints until `shutdown`.
pub async fn run(config: Config, listener: TcpListener, shutdown: CancellationToken) -> anyhow::Result<()> {
    let pool = persistence::pool::connect_lazy(&config.database_url, 4, "outbox-relay")?;
    let status = RelayStatus::default();
    let settings = RelaySettings::default();
    let relay = Relay::new(pool.clone(), config.kafka.clone(), settings, status.clone())?;

    let health = Health::builder("outbox-relay")
        .required("postgres", {
            let pool = pool.clone();
            move || {
                let pool = pool.clone();
                async move { persistence::pool::ping(&pool).await.map_err(|error| error.to_string()) }
            }
        })
        .required("publishing", {
            let status = status.clone();
            move || {
                let status = status.clone();
                async move { status.check() }
            }
        })
        .not_ready_yet()
        .build();

    let mut supervisor = Supervisor::new(shutdown.clone());
    supervisor.spawn(
        "http",
        http::serve(listener, http::harden(health.routes(), Limits::default()), shutdown.clone()),
    );
    supervisor.spawn("relay", async move {
        tokio::select! {
            migrated = persistence::pool::migrate_when_available(&pool, &MIGRATIONS) => migrated?,
            () = shutdown.cancelled() => return Ok(()),
        }
        health.set_ready(true);
        relay.run(shutdown).await;
        Ok(())
    });
    supervisor.run().await
}

/// How long before the lease ends a batch must be able to be acknowledged or given up.
const MARGIN: Duration = Duration::from_secs(1);
