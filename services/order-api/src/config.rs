//! Settings of the order API.

use std::net::SocketAddr;
use std::time::Duration;

use crate::patience::Patience;
use service_runtime::settings::{duration, postgres_url};

/// Accepts orders and answers product reads.
#[derive(Clone, clap::Parser)]
#[command(name = "order-api", version)]
pub struct Config {
    /// Where the API listens: ip:port
    #[arg(long, env = "ORDER_API_ADDR", default_value = "127.0.0.1:5001")]
    pub http_addr: SocketAddr,
    /// Database of orders and catalogue: postgres://user:password@host:port/database
    #[arg(
        long,
        env = "ORDERS_DATABASE_URL",
        hide_env_values = true,
        value_parser = postgres_url,
        default_value = "postgres://orders:orders@127.0.0.1:15432/orders"
    )]
    pub database_url: String,
    /// Connections for taking orders: a number from 1 to 100. Orders that come together share one; four are for prices and orders under load, and
    /// more are of use only where many orders are repeated under their keys
    #[arg(long, env = "ORDER_API_WRITE_CONNECTIONS", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub write_connections: u32,
    /// Orders that may be under way at a time: a number from 1 to 10000. What comes beyond them is answered 503 with Retry-After at once. More of
    /// them take longer bursts in, and make each order in them wait longer
    #[arg(long, env = "ORDER_API_ORDERS_AT_ONCE", default_value_t = 1000, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub orders_at_once: u16,
    /// How long the database may take. Not to be set from outside: it has to fit the limit on a whole request.
    #[arg(skip)]
    pub patience: Patience,
    /// Connections for reading products and orders, apart from the others, so that neither side can starve the other: a number
    /// from 1 to 100. The cache keeps this small
    #[arg(long, env = "ORDER_API_READ_CONNECTIONS", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub read_connections: u32,
    /// How long an Idempotency-Key stands for its order: from 1m to 720h, as a duration like 24h. Longer lets clients repeat a
    /// request later, and keeps one row more for each order taken under a key
    #[arg(long, env = "ORDER_API_IDEMPOTENCY_TTL", default_value = "24h", value_parser = idempotency_ttl)]
    pub idempotency_ttl: Duration,
    /// The product cache.
    #[command(flatten)]
    pub cache: CacheSettings,
}

/// How products are cached.
#[derive(Clone, clap::Args)]
pub struct CacheSettings {
    /// Redis: redis://host:port, with /number for another database than 0
    #[arg(
        long,
        env = "REDIS_URL",
        hide_env_values = true,
        value_parser = product_cache::redis_url,
        default_value = "redis://127.0.0.1:16379"
    )]
    pub redis_url: String,
    /// How long a product stays cached, at most; up to a fifth less, so that not all expire at once: a duration like 5m. Longer spares
    /// the database, and shows a changed price later
    #[arg(long, env = "PRODUCT_CACHE_TTL", default_value = "5m", value_parser = duration)]
    pub ttl: Duration,
    /// How long it stays cached that a product does not exist: a duration like 5s. Longer protects better against reads of made-up
    /// ids, and hides a new product for longer
    #[arg(long, env = "PRODUCT_CACHE_NEGATIVE_TTL", default_value = "5s", value_parser = duration)]
    pub negative_ttl: Duration,
    /// How long a read waits for Redis before it goes to the database: a duration like 50ms
    #[arg(long, env = "REDIS_TIMEOUT", default_value = "50ms", value_parser = duration)]
    pub timeout: Duration,
    /// How long Redis is left alone after it failed: a duration like 1s. Shorter finds it sooner once it is back; each try costs one
    /// read up to the time above
    #[arg(long, env = "REDIS_COOL_DOWN", default_value = "1s", value_parser = duration)]
    pub cool_down: Duration,
    /// How long a product may be answered from this process's memory after Redis was last heard: from 0ms to 10s, as a duration like 200ms.
    /// Changes show at once, since Redis tells of them; only while it hangs or cannot be reached may an old product be shown, and never
    /// for longer than this. Longer spares Redis a few reads a second; 0ms asks it for every read
    #[arg(long, env = "PRODUCT_CACHE_LEASE", default_value = "200ms", value_parser = lease)]
    pub lease: Duration,
}

fn lease(text: &str) -> Result<Duration, String> {
    duration(text).ok().filter(|lease| *lease <= Duration::from_secs(10)).ok_or_else(|| {
        "expected a whole number with a unit (ms or s) from 0ms to 10s such as 200ms".to_owned()
    })
}

/// Less would forget a key between two tries of one order; without an upper bound the database could not subtract it from now.
fn idempotency_ttl(text: &str) -> Result<Duration, String> {
    let range = Duration::from_mins(1)..=Duration::from_hours(720);
    duration(text).ok().filter(|ttl| range.contains(ttl)).ok_or_else(|| {
        "expected a whole number with a unit (ms, s, m, h or d) from 1m to 720h such as 24h".to_owned()
    })
}
