//! Latency from commit to consumed, at a steady rate.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use messaging::Producer;
use tokio::time::sleep_until;

use super::event::Event;
use super::listener::{Listener, Seen};
use super::numbers::Percentiles;
use super::process::Relay;
use super::sizes::Rate;
use super::table::Outbox;
use super::writer::{self, Schedule, Written};
use super::{Bench, drain};
use crate::bench::progress;
use crate::bench::report::{Figure, Spent, Target, Unit, number};
use crate::usage::forget_peak;

/// What the relay is to use at most at the first rate: cores, and MiB.
const CORES: f64 = 0.15;
const MEMORY: f64 = 30.0;
/// From when everything is connected to the first event.
const LEAD: Duration = Duration::from_millis(200);
/// A writer that was later than this for one event in a hundred was not steady, and is told of.
const LATE: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(30);

/// Latency at each rate, beside Kafka alone; at the first rate also what the relay uses.
pub(super) async fn measure(bench: &mut Bench<'_>) -> anyhow::Result<Vec<Figure>> {
    // Not counted, as the rehearsal is not: it warms up what the broker does for consumers.
    if let Some(rate) = bench.sizes.rates.last() {
        kafka_alone(bench, "a rehearsal, not counted,", rate.per_second).await?;
    }
    let mut figures = Vec::new();
    for (place, rate) in bench.sizes.rates.clone().into_iter().enumerate() {
        let relay = Relay::start(bench.settings).await?;
        let (found, late, spent) = through(bench, &relay, rate.per_second).await?;
        relay.stop().await?;
        bench.outbox.clear().await?;
        let alone = kafka_alone(bench, "Kafka alone", rate.per_second).await?;
        let what = format!("latency at {}", per_second(rate));
        figures.extend(lines(&what, rate, found, Some(("Kafka alone", alone)), &spent));
        // Nothing of it is in the latency, which begins with the commit: so it is told.
        figures.push(Figure::new(
            format!("writer behind its time at {}, p99", per_second(rate)),
            Unit::Millis,
            late,
        ));
        if place == 0 {
            bench.known.latency = Some(found);
            let used = spent.processes.get("relay").copied().unwrap_or_default();
            let cores = used.cpu.as_secs_f64() / spent.wall.as_secs_f64();
            figures.push(
                Figure::new(format!("relay's processor time at {}", per_second(rate)), Unit::Cores, cores)
                    .target(Target::AtMost(CORES)),
            );
            let memory = used.memory_mib.context("the relay's memory is not known")?;
            figures.push(
                Figure::new(format!("relay's memory at {}", per_second(rate)), Unit::Mebibytes, memory)
                    .target(Target::AtMost(MEMORY)),
            );
        }
    }
    Ok(figures)
}

/// Latency at the first rate by a relay that has just drained a backlog, whose dead rows are still there.
pub(super) async fn after_drain(bench: &mut Bench<'_>) -> anyhow::Result<Vec<Figure>> {
    let Some(rate) = bench.sizes.rates.first().copied() else { return Ok(Vec::new()) };
    let rows = bench.sizes.after_drain;
    let drain = drain::once(bench, "before-latency", rows).await?;
    progress(format!("  drained {} rows at {}/s", number(rows as f64), number(drain.rate)));
    let (found, _, spent) = through(bench, &drain.relay, rate.per_second).await?;
    drain.relay.stop().await?;
    bench.outbox.clear().await?;
    let what = format!("latency at {} after a drain", per_second(rate));
    let without = bench.known.latency.map(|without| ("not after a drain", without));
    Ok(lines(&what, rate, found, without, &spent))
}

/// A line for each percentile.
fn lines(
    what: &str,
    rate: Rate,
    found: Percentiles,
    reference: Option<(&str, Percentiles)>,
    spent: &Spent,
) -> Vec<Figure> {
    let mut figures: Vec<Figure> = found
        .named()
        .into_iter()
        .zip(rate.targets)
        .map(|((name, value), target)| {
            Figure::new(format!("{what}, {name}"), Unit::Millis, value).target(Target::AtMost(target))
        })
        .collect();
    if let Some((name, reference)) = reference {
        let of = figures.into_iter().zip(reference.named());
        figures = of.map(|(figure, (_, value))| figure.against(name, value)).collect();
    }
    // What was used is the same for all three.
    if let Some(first) = figures.first_mut() {
        *first = first.clone().used(spent);
    }
    figures
}

fn per_second(rate: Rate) -> String {
    format!("{}/s", number(rate.per_second.into()))
}

/// From commit to consumed, through `relay`; and how late the writer was for one row in a hundred, in milliseconds.
async fn through(
    bench: &mut Bench<'_>,
    relay: &Relay,
    per_second: u32,
) -> anyhow::Result<(Percentiles, f64, Spent)> {
    let topic = bench.topics.create("latency").await?;
    let events = Arc::new(bench.events(per_second));
    let url = &bench.settings.common.orders.orders_database_url;
    let writers = Outbox::connect(url, connections(per_second)).await?;
    let listener = Listener::start(&bench.settings.common.kafka, &topic, events.len())?;
    let schedule = Schedule { start: Instant::now() + LEAD, per_second };
    let watch = async {
        let watched = bench.watched(relay);
        sleep_until((schedule.start + bench.sizes.warm_up).into()).await;
        forget_peak(relay.pid());
        let before = watched.read()?;
        sleep_until(schedule.due(events.len()).into()).await;
        watched.since(&before, u64::from(per_second) * bench.sizes.window.as_secs())
    };
    let (written, spent) = tokio::join!(writer::rows(writers.pool(), &topic, &events, schedule), watch);
    let written = written?;
    writers.pool().close().await;
    let seen = listener.finish(events.len()).await?;
    gone(&bench.outbox).await?;
    let (found, late) = judge(bench, "commit to consumed", &events, &written, seen, schedule)?;
    Ok((found, late, spent?))
}

/// From send to consumed, the same records at the same rate by a producer with the same settings.
async fn kafka_alone(bench: &mut Bench<'_>, what: &str, per_second: u32) -> anyhow::Result<Percentiles> {
    let topic = bench.topics.create("alone").await?;
    let events = bench.events(per_second);
    let kafka = &bench.settings.common.kafka;
    let producer = Producer::with_linger(kafka, "bench-alone", PATIENCE, Duration::ZERO)?;
    producer.ping(&topic, PATIENCE).await.map_err(anyhow::Error::msg)?;
    let listener = Listener::start(kafka, &topic, events.len())?;
    let schedule = Schedule { start: Instant::now() + LEAD, per_second };
    let written = writer::records(&producer, &topic, &events, schedule).await?;
    let seen = listener.finish(events.len()).await?;
    Ok(judge(bench, what, &events, &written, seen, schedule)?.0)
}

/// Each event has to be there; those of the warm-up are left out. Also how late the writer was, as p99 in milliseconds.
fn judge(
    bench: &Bench<'_>,
    what: &str,
    events: &[Event],
    written: &[Written],
    seen: Seen,
    schedule: Schedule,
) -> anyhow::Result<(Percentiles, f64)> {
    let count = seen.len();
    if count != events.len() || written.len() != count {
        bail!("{} of {} events were written, and {count} arrived", written.len(), events.len());
    }
    let (mut latencies, mut late) = (Vec::with_capacity(count), Vec::with_capacity(count));
    for event in
        written.iter().filter(|event| schedule.due(event.index) >= schedule.start + bench.sizes.warm_up)
    {
        let id = events.get(event.index).map(|event| event.id).unwrap_or_default();
        let at = seen.get(&id).with_context(|| format!("event {id} did not arrive"))?;
        // A record may be there before the answer to its commit is: its latency is 0.
        latencies.push(at.saturating_duration_since(event.at));
        late.push(event.late);
    }
    let found = Percentiles::of(latencies).context("nothing was written")?;
    let Percentiles { p50, p95, p99 } = found;
    progress(format!(
        "  {what} at {}/s: p50 {p50:.2} ms, p95 {p95:.2} ms, p99 {p99:.2} ms",
        schedule.per_second
    ));
    let late = Percentiles::of(late).context("nothing was written")?;
    if late.p99 > LATE.as_secs_f64() * 1e3 {
        progress(format!(
            "  the writer could not keep up: it was late by {:.0} ms at the median and {:.0} ms at p99",
            late.p50, late.p99
        ));
    }
    Ok((found, late.p99))
}

/// Waits until the relay has removed the last rows, as it does after they were published.
async fn gone(outbox: &Outbox) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !outbox.is_empty().await? {
        if Instant::now() > deadline {
            bail!("rows that were published are still there after {PATIENCE:?}");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// Enough for commits that wait for the disk, and no more: each costs the server a process.
fn connections(per_second: u32) -> u32 {
    if per_second > 1_000 { 16 } else { 8 }
}
