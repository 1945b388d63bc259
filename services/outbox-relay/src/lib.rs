#![doc = include_str!("../README.md")]

mod config;
mod horizon;
mod lanes;
mod point;
mod record;
mod relay;
mod status;
mod wake;
mod work;

use service_runtime::health::Health;
use service_runtime::http::{self, Limits};
use service_runtime::supervise::Supervisor;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use config::Config;
pub use point::{Observer, Point};
pub use relay::{Relay, RelaySettings};
pub use status::RelayStatus;

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("../../migrations/orders");

/// Runs the relay and its health endpoints until `shutdown`.
pub async fn run(config: Config, listener: TcpListener, shutdown: CancellationToken) -> anyhow::Result<()> {
    let pool = persistence::outbox::connect(&config.database_url, "outbox-relay")?;
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
        .optional("blocked keys", {
            let status = status.clone();
            move || {
                let blocked = status.blocked_keys();
                async move {
                    match blocked {
                        0 => Ok(()),
                        keys => Err(format!(
                            "Kafka refused events of {keys} keys: `ops outbox blocked` lists them"
                        )),
                    }
                }
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
