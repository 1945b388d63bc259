#![doc = include_str!("../README.md")]

mod config;
mod horizon;
mod lanes;
mod metrics;
mod point;
mod record;
mod relay;
mod status;
mod wake;
mod work;

use std::time::Duration;

use service_runtime::health::Health;
use service_runtime::http::{self, Limits};
use service_runtime::scrape;
use service_runtime::supervise::Supervisor;
use sqlx::PgPool;
use telemetry::metrics::Metrics;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use config::Config;
pub use point::{Observer, Point};
pub use relay::{Relay, RelaySettings};
pub use status::RelayStatus;

/// How often it is looked how much waits, and how long that may take.
const LOOK: Duration = Duration::from_secs(5);

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("../../migrations/orders");

/// Runs the relay and its health endpoints until `shutdown`.
pub async fn run(config: Config, listener: TcpListener, shutdown: CancellationToken) -> anyhow::Result<()> {
    let pool = persistence::outbox::connect(&config.database_url, "outbox-relay")?;
    let status = RelayStatus::default();
    let metrics = Metrics::new();
    status.register(&metrics);
    persistence::metrics::pools(&metrics, &[("relay", &pool)]);
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
    let routes = health.routes().merge(scrape::routes(&metrics, &health));
    let routes = http::harden(routes, Limits::default(), &metrics);
    supervisor.spawn("http", http::serve(listener, routes, shutdown.clone()));
    supervisor.spawn("depth", {
        let (pool, shutdown) = (pool.clone(), shutdown.clone());
        async move {
            shutdown.run_until_cancelled(watch_depth(pool, status)).await;
            Ok(())
        }
    });
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

async fn watch_depth(pool: PgPool, status: RelayStatus) {
    loop {
        let looked = tokio::time::timeout(LOOK, persistence::outbox::depth(&pool)).await;
        // Why the database does not answer is the business of those who need it.
        status.metrics.deep(looked.ok().and_then(Result::ok));
        tokio::time::sleep(LOOK).await;
    }
}
