//! Settings of the baseline.

use std::net::SocketAddr;
use std::time::Duration;

use service_runtime::settings::{duration, postgres_url, share};

/// The same shop without Redis and Kafka: the caller waits for every step.
#[derive(Clone, clap::Parser)]
#[command(name = "baseline", version)]
pub struct Config {
    /// Where the API listens: ip:port
    #[arg(long, env = "BASELINE_ADDR", default_value = "127.0.0.1:5000")]
    pub http_addr: SocketAddr,
    /// Database of the baseline: postgres://user:password@host:port/database
    #[arg(
        long,
        env = "BASELINE_DATABASE_URL",
        hide_env_values = true,
        value_parser = postgres_url,
        default_value = "postgres://baseline:baseline@127.0.0.1:15432/baseline"
    )]
    pub database_url: String,
    /// Connections to the database: a number from 1 to 100
    #[arg(long, env = "BASELINE_DATABASE_CONNECTIONS", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub database_connections: u32,
    /// What the steps cost.
    #[command(flatten)]
    pub costs: Costs,
}

/// Simulated latencies, added to the real work of a step. Shorter ones make the baseline look better than it is.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Costs {
    /// Added to a product read: a duration like 50ms
    #[arg(long, env = "BASELINE_PRODUCT_LATENCY", default_value = "50ms", value_parser = duration)]
    pub product: Duration,
    /// Added to the insert of an order: a duration like 50ms
    #[arg(long, env = "BASELINE_INSERT_LATENCY", default_value = "50ms", value_parser = duration)]
    pub insert: Duration,
    /// How long the e-mail company takes: a duration like 200ms
    #[arg(long, env = "BASELINE_EMAIL_LATENCY", default_value = "200ms", value_parser = duration)]
    pub email: Duration,
    /// How long the text-message company takes: a duration like 300ms
    #[arg(long, env = "BASELINE_SMS_LATENCY", default_value = "300ms", value_parser = duration)]
    pub sms: Duration,
    /// Added to the stock update of each line: a duration like 50ms
    #[arg(long, env = "BASELINE_STOCK_LATENCY", default_value = "50ms", value_parser = duration)]
    pub stock: Duration,
    /// Added to the analytics step: a duration like 100ms
    #[arg(long, env = "BASELINE_ANALYTICS_LATENCY", default_value = "100ms", value_parser = duration)]
    pub analytics: Duration,
    /// How often each of the two companies fails: a number from 0 to 1
    #[arg(long, env = "BASELINE_FAILURE_RATE", default_value_t = 0.05, value_parser = share)]
    pub failure_rate: f64,
}
