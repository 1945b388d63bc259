//! Kafka's own producer benchmark, `kafka-producer-perf-test`: what the broker takes when no database is involved.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::process::Command;
use tokio::time::timeout;

use super::Bench;
use super::event::Event;

const PATIENCE: Duration = Duration::from_secs(300);
/// More different payloads than fit into a batch, so that none repeats in what is compressed together.
const PAYLOADS: u64 = 20_000;
/// It sends so many times the records: it is a Java program, which compiles its code in the first seconds, and is not to look slower for that.
const TIMES: u64 = 5;
/// As shared/messaging/src/producer.rs has them, where the size of a batch is librdkafka's default: Java's would be 16 kB.
const PROPERTIES: [&str; 5] =
    ["acks=all", "enable.idempotence=true", "compression.type=lz4", "linger.ms=2", "batch.size=1000000"];

/// Its records per second, as an average of more records than the relay's `rows`; `None` if nobody said how to start it.
pub(super) async fn measure(bench: &mut Bench<'_>, rows: u64) -> anyhow::Result<Option<f64>> {
    let records = TIMES * rows;
    let Some((program, arguments)) = bench.settings.producer_perf.split_first() else { return Ok(None) };
    let topic = bench.topics.create("producer").await?;
    let payloads = bench.settings.folder.join("payloads");
    let lines: Vec<String> =
        Event::list(records.min(PAYLOADS)).into_iter().map(|event| event.payload).collect();
    tokio::fs::write(&payloads, lines.join("\n")).await?;
    let output = Command::new(program)
        .args(arguments)
        .args([
            "--topic",
            &topic,
            "--throughput",
            "-1",
            "--num-records",
            &records.to_string(),
            "--payload-file",
        ])
        .arg(&payloads)
        .args(["--producer-props", &format!("bootstrap.servers={}", bench.settings.common.kafka.brokers)])
        .args(PROPERTIES)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = timeout(PATIENCE, output).await.context("Kafka's producer takes too long")??;
    let said = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        bail!("Kafka's producer failed ({}): {said}{errors}", output.status);
    }
    bench.arrived(&topic, records).await?;
    let rate = rate(&said, records).with_context(|| format!("Kafka's producer said no rate: {said}"))?;
    Ok(Some(rate))
}

/// The rate in the line that sums up: all records, and with percentiles. The lines before tell of some seconds each.
fn rate(said: &str, records: u64) -> Option<f64> {
    let line = said.lines().rev().find(|line| line.contains(" records sent, ") && line.contains(" 50th"))?;
    let (sent, rest) = line.split_once(" records sent, ")?;
    if sent.trim().parse() != Ok(records) {
        return None;
    }
    rest.split_once(" records/sec")?.0.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "\
187462 records sent, 37492.4 records/sec (17.88 MB/sec), 733.5 ms avg latency, 1120.0 ms max latency.
200000 records sent, 39462.12 records/sec (18.82 MB/sec), 733.12 ms avg latency, 1120.00 ms max latency, 730 ms 50th, 1011 ms 95th, 1090 ms 99th, 1118 ms 99.9th.
";

    #[test]
    fn the_rate_is_that_of_the_line_that_sums_up() {
        assert_eq!(rate(SAID, 200_000), Some(39_462.12));
    }

    #[test]
    fn a_run_that_was_cut_short_has_no_rate() {
        assert_eq!(rate(SAID.lines().next().unwrap(), 187_462), None);
        assert_eq!(rate(SAID, 300_000), None);
        assert_eq!(rate("", 1), None);
    }
}
