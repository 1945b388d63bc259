//! A steady stream of records, which notes when each was on the topic.

use std::time::{Duration, Instant};

use anyhow::Context;
use futures::future::try_join_all;
use messaging::{Producer, PublishError};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::super::stage::PATIENCE;
use super::super::ticket::Ticket;

const TICK: Duration = Duration::from_millis(5);
const WORK_US: u32 = 1_000;

/// A key, and when its next record was on the topic.
type Noted = (Ticket, Instant);

/// Goes on until it is dropped or ended.
pub(super) struct Load {
    stop: DropGuard,
    task: JoinHandle<anyhow::Result<Vec<Vec<Instant>>>>,
}

impl Load {
    /// The keys take turns.
    pub(super) fn start(producer: Producer, topic: String, keys: u32, per_second: u32) -> Self {
        let stop = CancellationToken::new();
        let task = tokio::spawn(produce(producer, topic, keys, per_second, stop.clone()));
        Self { stop: stop.drop_guard(), task }
    }

    /// For each key, when its records were on the topic.
    pub(super) async fn end(self) -> anyhow::Result<Vec<Vec<Instant>>> {
        drop(self.stop);
        tokio::time::timeout(PATIENCE, self.task).await.context("the producer did not end")??
    }
}

async fn produce(
    producer: Producer,
    topic: String,
    keys: u32,
    per_second: u32,
    stop: CancellationToken,
) -> anyhow::Result<Vec<Vec<Instant>>> {
    // Late ticks are made up for, so the rate is what was asked for.
    let mut ticks = tokio::time::interval(TICK);
    let (mut acknowledged, mut noted) = (JoinSet::new(), Vec::new());
    let (began, mut sent) = (Instant::now(), 0u32);
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            _ = ticks.tick() => {}
        }
        let due = (began.elapsed().as_secs_f64() * f64::from(per_second)) as u32;
        let some: Vec<_> = (sent..due)
            .map(|i| {
                let ticket = Ticket { key: i % keys, number: i / keys, work_us: WORK_US };
                // Enqueued here, in order.
                let delivery = producer.send(ticket.record(&topic));
                async move { delivery.await.map(|()| (ticket, Instant::now())) }
            })
            .collect();
        sent = due;
        acknowledged.spawn(try_join_all(some));
        while let Some(some) = acknowledged.try_join_next() {
            note(&mut noted, some)?;
        }
    }
    while let Some(some) = acknowledged.join_next().await {
        note(&mut noted, some)?;
    }
    noted.sort_by_key(|(ticket, _)| ticket.number);
    let mut by_key = vec![Vec::new(); keys as usize];
    for (ticket, at) in noted {
        by_key.get_mut(ticket.key as usize).context("no such key")?.push(at);
    }
    Ok(by_key)
}

fn note(
    noted: &mut Vec<Noted>,
    some: Result<Result<Vec<Noted>, PublishError>, tokio::task::JoinError>,
) -> anyhow::Result<()> {
    noted.extend(some?.context("a record did not get onto its topic")?);
    Ok(())
}
