//! Commands and their settings.

use messaging::KafkaSettings;

use crate::ladders::consumer;
use crate::{bench, chaos, compare, figures, scenario};

/// Load on the whole system.
#[derive(clap::Parser)]
#[command(name = "loadtest", version)]
pub struct Config {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What can be asked for.
#[derive(clap::Subcommand)]
pub enum Command {
    /// Users or requests at a rate against a shop that runs, and what came of them. `./dev load` says where that is
    Load(scenario::Settings),
    /// The baseline and the event-driven system under the same load, side by side. `./dev compare` brings the servers for it
    Compare(Box<compare::Settings>),
    /// Kill, freeze and restart everything under load, then audit. `./dev chaos` brings the stack for it
    Chaos(chaos::Settings),
    /// Measure the relay, the consumer runtime or product reads beside references, or what tracing costs. `./dev bench` brings the servers for it
    Bench(bench::Settings),
    /// Draw the main figures of the last minutes, as Prometheus has them. `./dev figures` says where that is
    Figures(figures::Settings),
    /// Make the topics and the table that `chaos` needs beside what the system has
    ChaosPrepare(Prepare),
    /// The consumer that watches order per key
    ChaosConsumer(consumer::Config),
    /// What `bench products` measures, as a process of its own
    #[command(hide = true)]
    BenchProductsServer(Box<bench::products::ServerConfig>),
}

/// What `chaos-prepare` has to reach.
#[derive(clap::Args)]
pub struct Prepare {
    /// Where the outbox is.
    #[command(flatten)]
    pub orders: OrdersDatabase,
    /// Brokers.
    #[command(flatten)]
    pub kafka: KafkaSettings,
}

/// The orders database.
#[derive(Clone, clap::Args)]
pub struct OrdersDatabase {
    /// Orders database: postgres://user:password@host:port/database
    #[arg(long, env = "ORDERS_DATABASE_URL", hide_env_values = true, value_parser = service_runtime::settings::postgres_url,
          default_value = "postgres://orders:orders@127.0.0.1:15432/orders")]
    pub orders_database_url: String,
}
