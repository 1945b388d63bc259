//! `loadtest chaos`: load while processes are killed, frozen and restarted, and then the audit.

mod accounts;
pub(crate) mod audit;
pub mod plan;
mod reads;
mod report;
mod stack;
mod storm;
mod target;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;
use messaging::KafkaSettings;
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

pub use report::{Example, Load, Report, Row};
pub use storm::Toll;
pub use target::Target;

use crate::config::OrdersDatabase;
use crate::ladders::{self, climb, compare, consumer};
use crate::load::{self, Orders, Pace, Shop};
use plan::Plan;
use stack::Stack;

/// A request without an answer for so long has an unknown outcome. Shorter than most freezes.
const REQUEST: Duration = Duration::from_secs(5);
/// Orders without a definite answer at a time.
const IN_FLIGHT: usize = 256;
/// How long the last orders, and the last rungs, may take once everything is up again.
const PATIENCE: Duration = Duration::from_secs(240);
/// The exit status when it could not be found out.
const NOT_FINISHED: u8 = 2;

/// What to break, and where it is.
#[derive(Clone, clap::Args)]
pub struct Settings {
    /// Which faults, when and for how long: a whole number. The same seed gives the same plan
    #[arg(long, value_name = "NUMBER")]
    pub seed: u64,
    /// Length of the run without the audit: a number of minutes such as 5 or 0.7
    #[arg(long, value_name = "MINUTES", default_value = "5", value_parser = minutes)]
    pub minutes: f64,
    /// Orders per second: a number from 1 to 1000
    #[arg(long, value_name = "NUMBER", default_value_t = 25, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub rate: u16,
    /// Events per second on the topic with many events per key: a number from 1 to 1000
    #[arg(long, value_name = "NUMBER", default_value_t = 25, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub rungs: u16,
    /// The shop: http://host:port
    #[arg(long, value_name = "URL")]
    pub shop: String,
    /// The script that starts and stops the processes of the stack
    #[arg(long, value_name = "FILE")]
    pub dev: PathBuf,
    /// The folder of the stack
    #[arg(long, value_name = "FOLDER")]
    pub stack: PathBuf,
    /// The operator's command, which audits
    #[arg(long, value_name = "FILE")]
    pub ops: PathBuf,
    /// Where the outbox is.
    #[command(flatten)]
    pub orders: OrdersDatabase,
    /// Where arrivals are noted.
    #[command(flatten)]
    pub notes: consumer::Database,
    /// Brokers.
    #[command(flatten)]
    pub kafka: KafkaSettings,
}

fn minutes(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(minutes) if (0.1..=1440.0).contains(&minutes) => Ok(minutes),
        _ => Err("expected a number of minutes from 0.1 to 1440 such as 5".to_owned()),
    }
}

/// Breaks, audits and prints. The exit status is 0 if the system was clean, 1 with findings, 2 if it could not be found out.
pub async fn run(settings: Settings) -> ExitCode {
    match chaos(&settings).await {
        Ok(report) => {
            println!("{report}");
            if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("loadtest: the run with seed {} could not be finished: {error:#}", settings.seed);
            ExitCode::from(NOT_FINISHED)
        }
    }
}

async fn chaos(settings: &Settings) -> anyhow::Result<Report> {
    let plan = Plan::new(settings.seed, settings.minutes);
    let kills = plan.faults().filter(|fault| matches!(fault.action, plan::Action::Kill(_))).count();
    println!(
        "Seed {}: {} faults, {kills} of them kills, in {} waves",
        settings.seed,
        plan.faults().count(),
        plan.waves.len()
    );

    let stack = Stack::new(settings.dev.clone(), settings.stack.clone());
    let shop = Shop::new(&settings.shop, REQUEST)?;
    let orders = persistence::pool::connect_lazy(&settings.orders.orders_database_url, 5, "loadtest")?;
    let notes = persistence::pool::connect_lazy(&settings.notes.chaos_database_url, 1, "loadtest")?;

    let (stop, began) = (CancellationToken::new(), Instant::now());
    let pace = Pace { rate: settings.rate.into(), in_flight: IN_FLIGHT, patience: PATIENCE };
    let storm = async {
        // However it ends, the load ends with it.
        let _stop = stop.clone().drop_guard();
        let tolls = storm::rage(&stack, &plan, |line| println!("{line}")).await;
        (tolls, began.elapsed())
    };
    let ((tolls, length), sent, acknowledged, (reads, failed_reads)) = tokio::join!(
        storm,
        load::send(&shop, pace, Orders::new(settings.seed), stop.clone()),
        climb::climb(&orders, settings.seed, settings.rungs.into(), &stop),
        reads::read(&shop, settings.seed, &stop),
    );
    let tolls = tolls?;

    println!("Everything is up again; waiting for the last effects, then comparing");
    let mut report = Report { seed: settings.seed, length, ..Report::default() };
    report.load = Load { reads, failed_reads, ..accounts::load(&sent) };
    let accepted = accounts::accepted(&sent);
    report.rows = vec![
        accounts::answers(&sent),
        accounts::exist(&shop, &accepted).await,
        accounts::keys(&shop, &sent).await,
    ];
    let audit = audit::audit(&settings.ops).await?;
    if audit.accepted.orders != accepted.len() as u64 {
        let (stored, known) = (audit.accepted.orders, accepted.len());
        report.findings.push(format!("the database has {stored} orders, and clients know of {known}"));
    }
    report.rows.extend(audit.stages);
    report.rows.push(ladder_row(&orders, &notes, &acknowledged).await?);
    report.notes = audit
        .notes
        .into_iter()
        .chain(audit.not_checked.iter().map(|what| format!("not checked: {what}")))
        .collect();
    for (target, toll) in tolls.iter().filter(|(_, toll)| toll.own_ends > 0) {
        report.findings.push(format!("{target} ended {} times without being killed", toll.own_ends));
    }
    report.tolls = tolls;
    Ok(report)
}

async fn ladder_row(
    orders: &PgPool,
    notes: &PgPool,
    acknowledged: &climb::Acknowledged,
) -> anyhow::Result<Row> {
    let committed = climb::finish(orders, PATIENCE).await?;
    let notes = compare::read(notes, &committed, PATIENCE).await.context("what arrived cannot be read")?;
    Ok(compare::compare(&committed, acknowledged, &notes))
}

/// Makes the topics and the table that a run needs beside what the system has.
pub async fn prepare(orders: &OrdersDatabase, kafka: &KafkaSettings) -> anyhow::Result<()> {
    let pool = persistence::pool::connect_lazy(&orders.orders_database_url, 1, "loadtest")?;
    ladders::prepare(&pool, kafka).await
}
