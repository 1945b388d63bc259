//! `loadtest bench`: how fast the relay, the consumer runtime and product reads are, and what tracing costs, each beside a reference in the same run.

pub mod consumer;
pub mod orders;
pub mod products;
pub mod relay;
pub mod report;
pub mod tracing;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, bail};
use chrono::{SecondsFormat, Utc};
use messaging::KafkaSettings;

use crate::chaos::audit;
use crate::config::OrdersDatabase;
use crate::system::SystemArgs;
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
    /// Orders: how many are taken and go through, how soon, beyond that what happens, and what it takes
    Orders(Box<orders::Settings>),
    /// Product reads: from the warm cache beside an empty handler, and how soon a change shows
    Products(products::Settings),
}

/// What every benchmark is told.
#[derive(Clone, Debug, clap::Args)]
pub struct Output {
    /// A short form that shows that everything runs; its figures are not to be quoted
    #[arg(long)]
    pub quick: bool,
    /// Write the report as JSON, too
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// What else a reader of the report should know, the commit or a version: may be given many times
    #[arg(long, value_name = "NAME=VALUE", value_parser = about)]
    pub about: Vec<(String, String)>,
}

impl What {
    fn output(&self) -> &Output {
        match self {
            Self::Relay(settings) => &settings.common.output,
            Self::Consumer(settings) => &settings.common.output,
            Self::Tracing(settings) => &settings.common.output,
            Self::Orders(settings) => &settings.common.output,
            Self::Products(settings) => &settings.output,
        }
    }
}

/// What benchmarks with PostgreSQL and Kafka take.
#[derive(Clone, clap::Args)]
pub struct Common {
    /// What comes out, and how much.
    #[command(flatten)]
    pub output: Output,
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

fn about(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
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
        What::Orders(settings) => ("orders", orders::measure(settings).await?),
        What::Products(settings) => ("products", products::measure(settings).await?),
    };
    let Output { quick, json, about } = what.output();
    let report = Report {
        bench,
        quick: *quick,
        at: Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true),
        machine: Machine::name(),
        about: about.iter().cloned().collect(),
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

/// An error unless all that was accepted had its effects, once.
async fn audit_all(system: &SystemArgs, accepted: u64) -> anyhow::Result<()> {
    progress(format!("auditing {accepted} orders"));
    let audit = audit::audit(&system.programs.join("ops")).await?;
    if audit.accepted.orders != accepted {
        bail!("the database has {} orders, and clients know of {accepted}", audit.accepted.orders);
    }
    if let Some(row) = audit.stages.iter().find(|row| row.findings() > 0) {
        let example = row.examples.first();
        let example = example.map(|example| format!(", for example {}: {}", example.subject, example.detail));
        bail!("the audit has {} findings in {}{}", row.findings(), row.stage, example.unwrap_or_default());
    }
    Ok(())
}
