//! What it takes to measure the running system once.

use std::time::Duration;

use anyhow::bail;
use tokio::time::{Instant, sleep};

use super::modes::Tracing;
use super::slice::{Outcome, Slice};
use super::{Settings, clients, shop};
use crate::bench::progress;
use crate::load::Shop;
use crate::system::meters::Counts;
use crate::system::running::Running;

/// A request without an answer for so long is no figure but a failure.
const REQUEST: Duration = Duration::from_secs(30);
/// Who sends spans waits half a second for company. When nothing came for so long nothing is on its way any more.
const QUIET: Duration = Duration::from_secs(1);
/// For the last span.
const SPANS: Duration = Duration::from_secs(60);

/// The system, and the way to its shop.
pub(super) struct System {
    running: Running,
    shop: Shop,
}

impl System {
    /// Starts the programs and has the companies do their part at once and without failures.
    pub(super) async fn start(settings: &Settings, tracing: Tracing) -> anyhow::Result<Self> {
        let environment = tracing.settings(&settings.collector);
        let mut running = Running::start(&settings.common, &settings.system, &environment).await?;
        running.watched = running.watched.process("jaeger", settings.jaeger_pid);
        Ok(Self { running, shop: shop(settings.system.addresses.order_api_addr, REQUEST)? })
    }

    /// Orders for `length` that are not counted: connections are opened. Returns how many there were.
    pub(super) async fn rehearse(
        &mut self,
        slice: Slice,
        length: Duration,
        share: Option<f64>,
    ) -> anyhow::Result<u64> {
        let outcome = self.measure(Slice { length, ..slice }, u64::from(u32::MAX), share).await?;
        progress(format!("  a rehearsal, not counted: {outcome}"));
        Ok(outcome.accepted)
    }

    /// Has clients order, and waits for the last effect and the last span. The same `round` orders the same.
    pub(super) async fn measure(
        &mut self,
        slice: Slice,
        round: u64,
        share: Option<f64>,
    ) -> anyhow::Result<Outcome> {
        let running = &mut self.running;
        running.checkpoint().await?;
        let before = running.counts().await?;
        running.watched.forget_peaks();
        let (began, used) = (Instant::now(), running.watched.read()?);
        let (accepted, ordering) =
            clients::order(&self.shop, slice.clients, slice.length, round, share).await?;
        let whole = running.effects(&before, accepted, began).await?;
        let after = self.spans().await?;
        Ok(Outcome {
            accepted,
            ordering,
            whole,
            spent: self.running.watched.since(&used, accepted)?,
            exported: after.exported - before.exported,
            dropped: after.dropped - before.dropped,
        })
    }

    /// Waits until no more spans are sent.
    async fn spans(&self) -> anyhow::Result<Counts> {
        let deadline = Instant::now() + SPANS;
        let mut counts = self.running.counts().await?;
        loop {
            sleep(QUIET).await;
            let now = self.running.counts().await?;
            if now == counts {
                return Ok(now);
            }
            if Instant::now() > deadline {
                bail!("spans are still sent after {SPANS:?}");
            }
            counts = now;
        }
    }

    /// Ends the programs.
    pub(super) async fn stop(self) -> anyhow::Result<()> {
        self.running.stop().await
    }
}
