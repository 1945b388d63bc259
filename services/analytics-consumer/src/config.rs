//! Settings of the analytics consumer.

use std::net::SocketAddr;

use consumer_service::ConsumerArgs;
use contracts::topics;

/// Counts orders and revenue per minute and the best-selling products.
#[derive(Clone, clap::Parser)]
#[command(name = "analytics-consumer", version)]
pub struct Config {
    /// Where queries and health are served: ip:port
    #[arg(long, env = "ANALYTICS_ADDR", default_value = "127.0.0.1:5014")]
    pub http_addr: SocketAddr,
    /// Database of this consumer: postgres://user:password@host:port/database
    #[arg(
        long,
        env = "ANALYTICS_DATABASE_URL",
        hide_env_values = true,
        value_parser = service_runtime::settings::postgres_url,
        default_value = "postgres://analytics:analytics@127.0.0.1:15432/analytics"
    )]
    pub database_url: String,
    /// Connections to the database: a number from 1 to 100. One for the batch in hand, the others for queries
    #[arg(long, env = "ANALYTICS_DATABASE_CONNECTIONS", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub database_connections: u32,
    /// Most orders in a transaction: a number from 1 to 5000. Larger batches cost less per order and hold their rows longer
    #[arg(long, env = "ANALYTICS_BATCH", default_value_t = 500, value_parser = clap::value_parser!(u16).range(1..=5000))]
    pub batch: u16,
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would take it as the description of the whole program")]
    pub consumer: ConsumerArgs,

    /// Where orders come from. Not to be set from outside: this and the group are part of the system's design, and only a test
    /// has reason for others.
    #[arg(skip = topics::ORDER_EVENTS)]
    pub topic: &'static str,

    /// The consumer group; it also names its topics of dead letters and of their return.
    #[arg(skip = topics::ANALYTICS_GROUP)]
    pub group: &'static str,
}
