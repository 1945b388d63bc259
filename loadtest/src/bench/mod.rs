//! `loadtest bench`: how fast the relay, the consumer runtime and product reads are, and what tracing costs, each beside a reference in the same run.

pub mod consumer;
pub mod products;
pub mod relay;
pub mod report;
pub mod tracing;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context;
use messaging::KafkaSettings;

use crate::config::OrdersDatabase;
use crate::usage::Machine;
use report::Report;

/// What to measure, and with what.
#[derive(Clone, clap::Args)]
pub struct Settings {
    /// What to measure
    #[command(subcommand)]
    what: What,
}

#[derive(Clone, clap::Subcommand)]
enum What {
    /// The outbox relay: drain, latency from commit to consumed, backlogs, idle
    Relay(relay::Settings),
    /// The consumer runtime: concurrency by key, batches into Postgres, a slow key, a rebalance
    Consumer(consumer::Settings),
    /// What tracing costs: orders through the whole system, sampled and not
    Tracing(Box<tracing::Settings>),
    /// Product reads: from the warm cache beside an empty handler, and how soon a change shows
    Products(products::Settings),
}

/// What all benchmarks take.
#[derive(Clone, clap::Args)]
pub struct Common {
    /// A short form that shows that everything runs; its figures are not to be quoted
    #[arg(long)]
    pub quick: bool,
    /// Write the report as JSON, too
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Process id of PostgreSQL's first process
    #[arg(long, value_name = "NUMBER")]
    pub postgres_pid: i32,
    /// Process id of Kafka
    #[arg(long, value_name = "NUMBER")]
    pub kafka_pid: i32,
    /// The database.
    #[command(flatten)]
    pub orders: OrdersDatabase,
    /// Brokers.
    #[command(flatten)]
    pub kafka: KafkaSettings,
}

/// Says what is going on. Not part of the report, which is what stands on the standard output.
fn progress(line: impl std::fmt::Display) {
    eprintln!("  {line}");
}

/// Measures and prints. Targets that are missed are not a failure: the exit status is 0 if everything could be measured.
pub async fn run(settings: Settings) -> ExitCode {
    match bench(&settings.what).await {
        Ok(report) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("loadtest: the benchmark could not be finished: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn bench(what: &What) -> anyhow::Result<Report> {
    let (began, machine) = (Instant::now(), Machine::read());
    let (bench, figures) = match what {
        What::Relay(settings) => ("relay", relay::measure(settings).await?),
        What::Consumer(settings) => ("consumer", consumer::measure(settings).await?),
        What::Tracing(settings) => ("tracing", tracing::measure(settings).await?),
        What::Products(settings) => ("products", products::measure(settings).await?),
    };
    let (quick, json) = match what {
        What::Relay(relay::Settings { common, .. }) | What::Consumer(consumer::Settings { common, .. }) => {
            (common.quick, &common.json)
        }
        What::Tracing(settings) => (settings.common.quick, &settings.common.json),
        What::Products(settings) => (settings.quick, &settings.json),
    };
    let report = Report {
        bench,
        quick,
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        stolen_percent: machine.and_then(Machine::stolen_percent),
        seconds: began.elapsed().as_secs_f64(),
        figures,
    };
    if let Some(file) = json {
        let json = serde_json::to_string_pretty(&report)?;
        tokio::fs::write(file, json)
            .await
            .with_context(|| format!("{} cannot be written", file.display()))?;
    }
    Ok(report)
}
