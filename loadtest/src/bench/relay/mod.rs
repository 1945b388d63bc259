//! How fast the outbox relay is.

mod backlog;
mod drain;
mod event;
mod held;
mod idle;
mod latency;
mod listener;
pub(super) mod numbers;
mod one_by_one;
mod process;
mod producer_perf;
mod sizes;
mod table;
mod topics;
mod writer;

use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::ValueEnum;

use super::Common;
use super::report::{Figure, Unit, number};
use crate::usage::Watched;
use event::Event;
use numbers::Percentiles;
use process::Relay;
use sizes::Sizes;
use table::Outbox;
use topics::Topics;

/// Connections of the bench itself: one that asks, one that holds a transaction open.
const CONNECTIONS: u32 = 2;

/// What to measure.
#[derive(Clone, clap::Args)]
pub struct Settings {
    /// What all benchmarks take.
    #[command(flatten)]
    pub common: Common,
    /// Measure only these parts
    #[arg(long, value_name = "PART", value_delimiter = ',')]
    pub only: Vec<Part>,
    /// The program `outbox-relay`
    #[arg(long, value_name = "FILE")]
    pub relay: PathBuf,
    /// Where the relay's log and the payloads for Kafka's producer go
    #[arg(long, value_name = "FOLDER")]
    pub folder: PathBuf,
    /// The command, up to its own arguments, that starts Kafka's ProducerPerformance. The last option: all that follows belongs to it
    #[arg(long, value_name = "COMMAND", num_args = 1.., allow_hyphen_values = true)]
    pub producer_perf: Vec<String>,
}

/// A part of the benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// Rows that wait are published
    Drain,
    /// From commit to consumed, at steady rates
    Latency,
    /// The same right after a drain
    AfterDrain,
    /// A drain of a backlog ten times as long as another
    Backlog,
    /// A drain while a transaction is open
    Held,
    /// A relay with nothing to do
    Idle,
}

/// What every part works with.
struct Bench<'a> {
    settings: &'a Settings,
    sizes: Sizes,
    outbox: Outbox,
    topics: Topics,
    known: Known,
}

/// What earlier parts found and later ones refer to.
#[derive(Default)]
struct Known {
    drain: Option<f64>,
    latency: Option<Percentiles>,
}

/// Measures everything, in its order. After each part no relay runs and the outbox is empty.
///
/// # Errors
/// A server or a process that takes part failed, or what came out cannot be.
pub async fn measure(settings: &Settings) -> anyhow::Result<Vec<Figure>> {
    let mut bench = Bench::prepare(settings).await?;
    let mut all = Vec::new();
    let asked = |part: &&Part| settings.only.is_empty() || settings.only.contains(part);
    for part in Part::value_variants().iter().filter(asked) {
        let name = part.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
        super::progress(format!("{name}:"));
        let figures = part.measure(&mut bench).await.with_context(|| name.clone())?;
        figures.iter().try_for_each(plausible).with_context(|| name.clone())?;
        if !bench.outbox.is_empty().await? {
            bail!("{name}: rows are left in the outbox");
        }
        bench.outbox.clear().await?;
        // What is aimed at holds for the long form.
        let aimed =
            |figure| if settings.common.output.quick { Figure { target: None, ..figure } } else { figure };
        all.extend(figures.into_iter().map(aimed));
    }
    Ok(all)
}

impl Part {
    async fn measure(self, bench: &mut Bench<'_>) -> anyhow::Result<Vec<Figure>> {
        match self {
            Self::Drain => drain::measure(bench).await,
            Self::Latency => latency::measure(bench).await,
            Self::AfterDrain => latency::after_drain(bench).await,
            Self::Backlog => backlog::measure(bench).await,
            Self::Held => held::measure(bench).await,
            Self::Idle => idle::measure(bench).await,
        }
    }
}

impl<'a> Bench<'a> {
    async fn prepare(settings: &'a Settings) -> anyhow::Result<Self> {
        // It makes its tables when it starts.
        Relay::start(settings).await?.stop().await?;
        let outbox = Outbox::connect(&settings.common.orders.orders_database_url, CONNECTIONS).await?;
        let topics = Topics::new(&settings.common.kafka)?;
        let sizes = Sizes::new(settings.common.output.quick);
        let mut bench = Self { settings, sizes, outbox, topics, known: Known::default() };
        if !bench.outbox.is_empty().await? {
            bail!("the outbox is not empty: this is no database for a benchmark");
        }
        bench.rehearse().await?;
        Ok(bench)
    }

    /// A drain that is not counted: a broker that has just been started compiles its code while it works, and what is measured first would pay
    /// for that.
    async fn rehearse(&mut self) -> anyhow::Result<()> {
        let drain = drain::once(self, "rehearsal", self.sizes.drain).await?;
        super::progress(format!("a rehearsal, not counted: drained at {:.0}/s", drain.rate));
        drain.relay.stop().await?;
        self.outbox.clear().await
    }

    /// The servers' processes and this one.
    fn servers(&self) -> Watched {
        let common = &self.settings.common;
        let watched =
            Watched::default().family("postgres", common.postgres_pid).process("kafka", common.kafka_pid);
        match i32::try_from(std::process::id()) {
            Ok(own) => watched.process("bench", own),
            Err(_) => watched,
        }
    }

    /// All processes that take part.
    fn watched(&self, relay: &Relay) -> Watched {
        self.servers().process("relay", relay.pid())
    }

    /// The events of a warm-up and a window.
    fn events(&self, per_second: u32) -> Vec<Event> {
        Event::list(u64::from(per_second) * (self.sizes.warm_up + self.sizes.window).as_secs())
    }

    /// An error unless `topic` has exactly so many records.
    async fn arrived(&self, topic: &str, expected: u64) -> anyhow::Result<()> {
        match self.topics.records(topic).await? {
            records if records == expected => Ok(()),
            records => bail!("{records} records are on {topic}, and {expected} were sent"),
        }
    }
}

/// Records that may be there twice. Publication is at least once: where the machine stands still for longer than Kafka may take to acknowledge, a relay
/// sends what it has under way again, 4,096 records at most. More than two such moments is something else.
const REPEATS: u64 = 2 * 4096;

/// Says how many records were repeats.
///
/// # Errors
/// There were too many.
fn repeats(count: u64) -> anyhow::Result<()> {
    match count {
        0 => {}
        1..=REPEATS => super::progress(format!("  {} records came twice", number(count as f64))),
        _ => bail!("{count} records came twice"),
    }
    Ok(())
}

/// A figure that cannot be is an error and not a line of a table.
fn plausible(figure: &Figure) -> anyhow::Result<()> {
    let ratio = figure.ratio.is_none_or(f64::is_finite);
    // An idle process may use less than the kernel counts.
    let least = if figure.unit == Unit::Cores { figure.result >= 0.0 } else { figure.result > 0.0 };
    if !least || !figure.result.is_finite() || !ratio {
        bail!("{} came out as {}", figure.what, figure.result);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeats_of_what_two_moments_of_standing_still_leave_are_no_error_and_more_are() {
        assert!(repeats(0).is_ok() && repeats(REPEATS).is_ok());
        assert_eq!(repeats(REPEATS + 1).unwrap_err().to_string(), "8193 records came twice");
    }
}
