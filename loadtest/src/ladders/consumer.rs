//! The consumer that watches: a service like the others, whose effect is a note of what arrived.

use std::net::SocketAddr;

use contracts::Envelope;
use messaging::consumer::{self, Answer, ConsumerSettings, ConsumerStatus, Delivery, Handler};
use messaging::{KafkaSettings, RetrySettings};
use persistence::{errors, inbox};
use service_runtime::health::Health;
use service_runtime::http::{self, Limits};
use service_runtime::supervise::Supervisor;
use sqlx::PgPool;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{GROUP, Rung, TOPIC};

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("./migrations");

/// Settings of the process.
#[derive(Clone, clap::Args)]
pub struct Config {
    /// Where health is served: ip:port
    #[arg(long, env = "CHAOS_CONSUMER_ADDR", default_value = "127.0.0.1:5030")]
    pub http_addr: SocketAddr,
    /// Database of this consumer.
    #[command(flatten)]
    pub database: Database,
    /// Brokers.
    #[command(flatten)]
    pub kafka: KafkaSettings,
    /// Backoff and attempts.
    #[command(flatten)]
    pub retry: RetrySettings,
}

/// Where the notes are.
#[derive(Clone, clap::Args)]
pub struct Database {
    /// Database of the consumer that watches ladders: postgres://user:password@host:port/database
    #[arg(
        long,
        env = "CHAOS_DATABASE_URL",
        hide_env_values = true,
        value_parser = service_runtime::settings::postgres_url,
        default_value = "postgres://chaos:chaos@127.0.0.1:15432/chaos"
    )]
    pub chaos_database_url: String,
}

/// Consumes until `shutdown`.
pub async fn run(config: Config, listener: TcpListener, shutdown: CancellationToken) -> anyhow::Result<()> {
    let pool = persistence::pool::connect_lazy(&config.database.chaos_database_url, 8, "chaos-consumer")?;
    let status = ConsumerStatus::default();
    let health = health(&pool, &status);
    let settings = ConsumerSettings::new(config.kafka, config.retry, GROUP, TOPIC);

    let routes = http::harden(health.routes(), Limits::default());
    let mut supervisor = Supervisor::new(shutdown.clone());
    supervisor.spawn("http", http::serve(listener, routes, shutdown.clone()));
    supervisor.spawn("consumer", async move {
        tokio::select! {
            migrated = persistence::pool::migrate_when_available(&pool, &MIGRATIONS) => migrated?,
            () = shutdown.cancelled() => return Ok(()),
        }
        health.set_ready(true);
        Ok(consumer::run(settings, decode, Watcher { pool }, status, shutdown).await?)
    });
    supervisor.run().await
}

fn health(pool: &PgPool, status: &ConsumerStatus) -> Health {
    let (pool, joined, live) = (pool.clone(), status.clone(), status.clone());
    Health::builder("chaos-consumer")
        .required("postgres", move || {
            let pool = pool.clone();
            async move { persistence::pool::ping(&pool).await.map_err(|error| error.to_string()) }
        })
        .required("consumer group", move || std::future::ready(joined.ready()))
        .live("consumer", move || live.is_live())
        .not_ready_yet()
        .build()
}

fn decode(payload: &[u8]) -> Result<Option<Envelope<Rung>>, serde_json::Error> {
    serde_json::from_slice(payload).map(Some)
}

/// Notes every rung: as an arrival when the inbox calls it the first delivery, else as a repeat.
pub struct Watcher {
    pool: PgPool,
}

impl Watcher {
    /// Notes into the migrated database behind `pool`.
    pub async fn new(pool: PgPool) -> anyhow::Result<Self> {
        persistence::pool::migrate(&pool, &MIGRATIONS).await?;
        Ok(Self { pool })
    }

    async fn note(&self, event: &Envelope<Rung>) -> Result<(), sqlx::Error> {
        let mut transaction = self.pool.begin().await?;
        let note = if inbox::first_delivery(&mut transaction, event.id, event.occurred_at).await? {
            sqlx::query(
                "WITH counted AS (
                     INSERT INTO ladders AS ladder (id, arrivals) VALUES ($1, 1)
                     ON CONFLICT (id) DO UPDATE SET arrivals = ladder.arrivals + 1 RETURNING id, arrivals
                 )
                 INSERT INTO arrivals (ladder, arrival, sequence) SELECT id, arrivals, $2 FROM counted",
            )
            .bind(event.aggregate_id)
            .bind(event.sequence)
        } else {
            sqlx::query("INSERT INTO repeats (ladder, sequence, event_id) VALUES ($1, $2, $3)")
                .bind(event.aggregate_id)
                .bind(event.sequence)
                .bind(event.id)
        };
        note.execute(&mut *transaction).await?;
        transaction.commit().await
    }
}

impl Handler for Watcher {
    type Event = Envelope<Rung>;

    async fn handle(&self, event: &Self::Event, _: &Delivery) -> Answer {
        match self.note(event).await {
            Ok(()) => Answer::Ok,
            Err(error) if errors::is_fault_of_the_data(&error) => {
                Answer::Poison(format!("database: {error}"))
            }
            Err(error) => Answer::Unavailable(format!("database: {error}")),
        }
    }
}
