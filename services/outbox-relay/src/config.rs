//! Settings of the relay.

use std::net::SocketAddr;

use messaging::KafkaSettings;

/// Publishes the outbox of the orders database to Kafka.
#[derive(Clone, clap::Parser)]
#[command(name = "outbox-relay", version)]
pub struct Config {
    /// Where health is served: ip:port
    #[arg(long, env = "OUTBOX_RELAY_ADDR", default_value = "127.0.0.1:5002")]
    pub http_addr: SocketAddr,
    /// Orders database: postgres://user:password@host:port/database
    #[arg(
        long,
        env = "ORDERS_DATABASE_URL",
        hide_env_values = true,
        value_parser = service_runtime::settings::postgres_url,
        default_value = "postgres://orders:orders@127.0.0.1:15432/orders"
    )]
    pub database_url: String,
    /// Brokers.
    #[command(flatten)]
    pub kafka: KafkaSettings,
}
