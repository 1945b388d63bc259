//! What a comparison needs, and how much of everything it does.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::config::OrdersDatabase;
use crate::system::SystemArgs;

/// Both systems, one after the other.
#[derive(Clone, clap::Args)]
pub struct Settings {
    /// A short form that shows that everything runs; its figures are not to be quoted
    #[arg(long)]
    pub quick: bool,
    /// How long the loads take in all, in minutes
    #[arg(long, value_name = "NUMBER", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=60), conflicts_with = "quick")]
    pub minutes: u32,
    /// Write everything as JSON, too
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write it as one page with plots, too
    #[arg(long, value_name = "FILE.html")]
    pub report: Option<PathBuf>,
    /// Process id of PostgreSQL's first process
    #[arg(long, value_name = "NUMBER")]
    pub postgres_pid: i32,
    /// Process id of Kafka
    #[arg(long, value_name = "NUMBER")]
    pub kafka_pid: i32,
    /// The event-driven system.
    #[command(flatten)]
    pub system: SystemArgs,
    /// The orders database.
    #[command(flatten)]
    pub orders: OrdersDatabase,
    /// Where the baseline listens: ip:port
    #[arg(long, env = "BASELINE_ADDR", value_name = "IP:PORT")]
    pub baseline_addr: SocketAddr,
    /// Database of the baseline: postgres://user:password@host:port/database
    #[arg(long, env = "BASELINE_DATABASE_URL", hide_env_values = true, value_parser = service_runtime::settings::postgres_url)]
    pub baseline_database_url: String,
}

/// How much of everything is done, to both systems alike.
#[derive(Clone, Copy, Debug)]
pub(super) struct Amounts {
    /// One caller with one connection, who reads products.
    pub(super) single_reads: Duration,
    /// One caller with one connection, who orders.
    pub(super) single_orders: Duration,
    /// Users at a time.
    pub(super) users: u32,
    /// Users who come each second.
    pub(super) ramp: f64,
    /// How long users ask once all of them are there.
    pub(super) users_length: Duration,
    /// How long users think.
    pub(super) think: (Duration, Duration),
    /// How long only products are read.
    pub(super) reads: Duration,
    /// Requests per second of the open loop.
    pub(super) rate: f64,
    /// How long it lasts once it is warm.
    pub(super) open: Duration,
    /// How long it is not counted before.
    pub(super) open_warm_up: Duration,
}

impl Amounts {
    /// The short form, or so many minutes for both systems together.
    pub(super) fn new(settings: &Settings) -> Self {
        let millis = Duration::from_millis;
        if settings.quick {
            return Self {
                single_reads: millis(500),
                single_orders: millis(1_600),
                users: 5,
                ramp: 50.0,
                users_length: millis(1_500),
                think: (millis(10), millis(50)),
                reads: millis(1_000),
                rate: 40.0,
                open: millis(1_500),
                open_warm_up: millis(500),
            };
        }
        // Of five minutes half is for each system; the ramps, 10 s each, are not stretched.
        let part = |seconds: f64| Duration::from_secs_f64(seconds * f64::from(settings.minutes) / 5.0);
        Self {
            single_reads: part(8.0),
            single_orders: part(14.0),
            users: 100,
            ramp: 10.0,
            users_length: part(30.0),
            think: (millis(1_000), millis(3_000)),
            reads: part(10.0),
            rate: 2_000.0,
            open: part(30.0),
            open_warm_up: part(5.0),
        }
    }

    /// Until the last user is there.
    pub(super) fn ramp_length(&self) -> Duration {
        Duration::from_secs_f64(f64::from(self.users) / self.ramp)
    }
}
