//! The consumer that watches: a service like the others, whose effect is a note of what arrived.

use std::net::SocketAddr;

use consumer_service::{ConsumerArgs, ConsumerService, Group};
use contracts::Envelope;
use messaging::consumer::{Answer, Delivery, Handler};
use persistence::errors;
use persistence::inbox::{self, Arrival};
use sqlx::PgPool;
use sqlx::migrate::Migrator;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{GROUP, Rung, TOPIC};

static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

const DATABASE_CONNECTIONS: u32 = 8;

/// Settings of the process.
#[derive(Clone, clap::Args)]
pub struct Config {
    /// Where health is served: ip:port
    #[arg(long, env = "CHAOS_CONSUMER_ADDR", default_value = "127.0.0.1:5030")]
    pub http_addr: SocketAddr,
    /// Database of this consumer.
    #[command(flatten)]
    pub database: Database,
    /// What every consumer can be told.
    #[command(flatten)]
    pub consumer: ConsumerArgs,
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
    let group = Group { service: "chaos-consumer", name: GROUP, topic: TOPIC, migrations: &MIGRATIONS };
    let url = &config.database.chaos_database_url;
    let service = ConsumerService::new(group, config.consumer, url, DATABASE_CONNECTIONS)?;
    let watcher = Watcher { pool: service.pool() };
    service.run(decode, watcher, listener, shutdown).await
}

fn decode(payload: &[u8]) -> Result<Option<Envelope<Rung>>, serde_json::Error> {
    serde_json::from_slice(payload).map(Some)
}

/// Notes every rung: as an arrival when the inbox calls it the first delivery, else as a repeat.
pub struct Watcher {
    pool: PgPool,
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("database: {0}")]
    Database(#[from] sqlx::Error),
    #[error("{0}")]
    BeyondHorizon(inbox::BeyondHorizon),
}

impl Watcher {
    /// Notes into the migrated database behind `pool`.
    pub async fn new(pool: PgPool) -> anyhow::Result<Self> {
        persistence::pool::migrate(&pool, &MIGRATIONS).await?;
        Ok(Self { pool })
    }

    async fn note(&self, event: &Envelope<Rung>, delivery: &Delivery) -> Result<(), Failure> {
        let (id, occurred_at) = (event.id, event.occurred_at);
        let known = inbox::Event { id, occurred_at, beyond_horizon: delivery.beyond_horizon };
        let mut transaction = self.pool.begin().await?;
        let note = match inbox::first_delivery(&mut transaction, known).await? {
            Arrival::First => sqlx::query(
                "WITH counted AS (
                     INSERT INTO ladders AS ladder (id, arrivals) VALUES ($1, 1)
                     ON CONFLICT (id) DO UPDATE SET arrivals = ladder.arrivals + 1 RETURNING id, arrivals
                 )
                 INSERT INTO arrivals (ladder, arrival, sequence) SELECT id, arrivals, $2 FROM counted",
            )
            .bind(event.aggregate_id)
            .bind(event.sequence),
            Arrival::Repeat => {
                sqlx::query("INSERT INTO repeats (ladder, sequence, event_id) VALUES ($1, $2, $3)")
                    .bind(event.aggregate_id)
                    .bind(event.sequence)
                    .bind(event.id)
            }
            Arrival::BeyondHorizon(beyond) => return Err(Failure::BeyondHorizon(beyond)),
        };
        note.execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(())
    }
}

impl Handler for Watcher {
    type Event = Envelope<Rung>;

    async fn handle(&self, event: &Self::Event, delivery: &Delivery) -> Answer {
        match self.note(event, delivery).await {
            Ok(()) => Answer::Ok,
            Err(failure @ Failure::BeyondHorizon(_)) => Answer::Poison(failure.to_string()),
            Err(Failure::Database(error)) if errors::is_fault_of_the_data(&error) => {
                Answer::Poison(format!("database: {error}"))
            }
            Err(failure) => Answer::Unavailable(failure.to_string()),
        }
    }
}
