//! Draining: rows that wait are published and removed by a relay that has just been started.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tokio::time::sleep;

use super::numbers::{Sample, median};
use super::process::Relay;
use super::{Bench, one_by_one, producer_perf, repeats};
use crate::bench::progress;
use crate::bench::report::{Figure, Spent, Target, Unit, number};

/// At least so many rows a second are to be published.
const TARGET: f64 = 40_000.0;
/// A drain that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(15 * 60);
/// Between two looks at the topic.
const LOOK: Duration = Duration::from_millis(100);
/// The same, where the clock starts and where it stops.
const CLOSE_LOOK: Duration = Duration::from_millis(10);
/// The last so many rows are looked at closely.
const NEAR: u64 = 20_000;
/// Between two lines about a drain that takes long.
const REPORT: Duration = Duration::from_secs(5);

/// How a drain went.
pub(super) struct Drain {
    /// Rows per second.
    pub(super) rate: f64,
    /// What the processes used.
    pub(super) spent: Spent,
    /// How many records were on the topic, and when.
    pub(super) samples: Vec<Sample>,
    /// Still running.
    pub(super) relay: Relay,
}

/// The rate beside Kafka's own producer, and beside a relay that sends one row at a time.
pub(super) async fn measure(bench: &mut Bench<'_>) -> anyhow::Result<Vec<Figure>> {
    let rows = bench.sizes.drain;
    let (mut drains, mut producers) = (Vec::new(), Vec::new());
    // In turns, so that whatever slows the machine down meets both.
    for _ in 0..bench.sizes.drains {
        let drain = once(bench, "drain", rows).await?;
        progress(format!("  drained at {}/s", number(drain.rate)));
        drain.relay.stop().await?;
        bench.outbox.clear().await?;
        drains.push((drain.rate, drain.spent));
        if let Some(rate) = producer_perf::measure(bench, rows).await? {
            progress(format!("  Kafka's own producer: {}/s", number(rate)));
            producers.push(rate);
        }
    }
    let rate = median(drains.iter().map(|(rate, _)| *rate).collect()).context("no drain")?;
    bench.known.drain = Some(rate);
    drains.sort_by(|(one, _), (other, _)| one.total_cmp(other));
    let (_, spent) = drains.swap_remove(drains.len() / 2);
    let one_by_one = one_by_one::measure(bench).await?;
    progress(format!("  a relay that sends one row at a time: {one_by_one:.0}/s"));

    let what = format!("drain of {} rows", number(rows as f64));
    let mut figure = Figure::new(what, Unit::PerSecond, rate).target(Target::AtLeast(TARGET)).used(&spent);
    if let Some(producer) = median(producers) {
        figure = figure.against("kafka-producer-perf-test", producer);
    }
    let naive = Figure::new("drain against a relay that sends one row at a time", Unit::PerSecond, rate)
        .against("one row at a time", one_by_one);
    Ok(vec![figure, naive])
}

/// Fills the outbox and drains it once.
pub(super) async fn once(bench: &mut Bench<'_>, part: &str, rows: u64) -> anyhow::Result<Drain> {
    let topic = bench.topics.create(part).await?;
    bench.outbox.fill(&topic, rows).await?;
    run(bench, &topic, rows).await
}

/// Starts a relay and waits until it has published and removed all `rows` that wait for `topic`.
///
/// The clock runs from the last look at which there was no record on the topic to the first at which all were there and no row was
/// left in the table. So it counts neither the start of the process nor its first connections, but everything else: claiming, publishing, settling.
pub(super) async fn run(bench: &Bench<'_>, topic: &str, rows: u64) -> anyhow::Result<Drain> {
    let last = bench.outbox.last_id().await?;
    let mut relay = Relay::spawn(bench.settings)?;
    let watched = bench.watched(&relay);
    let deadline = Instant::now() + PATIENCE;
    let (mut began, mut before, mut reported) = (Instant::now(), watched.read()?, Instant::now());
    let mut samples = vec![(Duration::ZERO, 0)];
    loop {
        let looked = Instant::now();
        let records = bench.topics.records(topic).await?;
        if records == 0 {
            (began, before) = (looked, watched.read()?);
        } else {
            samples.push((looked - began, records));
        }
        if records >= rows && bench.outbox.is_tail_gone(last).await? {
            let (asked, spent) = (Instant::now(), watched.since(&before, rows)?);
            if bench.outbox.is_empty().await? {
                let rate = rows as f64 / (asked - began).as_secs_f64();
                repeats(records - rows)?;
                return Ok(Drain { rate, spent, samples, relay });
            }
        }
        relay.check()?;
        if Instant::now() > deadline {
            bail!("only {records} of {rows} rows were published and removed in {PATIENCE:?}");
        }
        if reported.elapsed() > REPORT {
            reported = Instant::now();
            let seconds = began.elapsed().as_secs_f64();
            let (so_far, all) = (number(records as f64), number(rows as f64));
            progress(format!("  {so_far} of {all} rows after {seconds:.0} s"));
        }
        sleep(if records == 0 || records + NEAR >= rows { CLOSE_LOOK } else { LOOK }).await;
    }
}
