//! The running system, and what it takes to measure it once.

use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::json;
use sqlx::PgPool;
use tokio::time::{Instant, sleep};

use super::modes::Tracing;
use super::slice::{Outcome, Slice};
use super::{Settings, clients, shop};
use crate::bench::progress;
use crate::load::Shop;
use crate::system::SystemArgs;
use crate::system::meters::{Counts, Meters};
use crate::system::programs::{self, Launch, Program};
use crate::usage::Watched;

/// A request without an answer for so long is no figure but a failure.
const REQUEST: Duration = Duration::from_secs(30);
/// For the effects of all orders of a slice.
const EFFECTS: Duration = Duration::from_secs(300);
/// How often it is looked whether they are there.
const LOOK: Duration = Duration::from_millis(50);
/// Who sends spans waits half a second for company. When nothing came for so long nothing is on its way any more.
const QUIET: Duration = Duration::from_secs(1);
/// For the last span.
const SPANS: Duration = Duration::from_secs(60);

/// All processes of the system, and those that serve it.
pub(super) struct System {
    programs: Vec<Program>,
    watched: Watched,
    meters: Meters,
    shop: Shop,
    database: PgPool,
}

impl System {
    /// Starts the programs and has the companies do their part at once and without failures.
    pub(super) async fn start(settings: &Settings, tracing: Tracing) -> anyhow::Result<Self> {
        let common = &settings.common;
        let database = persistence::pool::connect_lazy(&common.orders.orders_database_url, 1, "bench")?;
        let SystemArgs { programs, folder, addresses, redis_pid } = &settings.system;
        let environment = tracing.settings(&settings.collector);
        let launch = Launch { programs, logs: folder, settings: &environment };
        let programs = programs::start(launch, &addresses.named()).await?;
        let watched = Watched::default()
            .family("postgres", common.postgres_pid)
            .process("kafka", common.kafka_pid)
            .process("redis", *redis_pid)
            .process("jaeger", settings.jaeger_pid)
            .process("bench", i32::try_from(std::process::id())?);
        let watched =
            programs.iter().fold(watched, |watched, program| watched.process(program.name, program.pid));
        let at_once = json!({ "latency_ms": 0, "failure_rate": 0.0, "lost_answer_rate": 0.0 });
        reqwest::Client::new()
            .put(format!("http://{}/api/settings", addresses.provider_sim_addr))
            .timeout(REQUEST)
            .json(&json!({ "email": at_once, "sms": at_once }))
            .send()
            .await
            .and_then(reqwest::Response::error_for_status)
            .context("provider-sim takes no settings")?;
        let shop = shop(addresses.order_api_addr, REQUEST)?;
        Ok(Self { programs, watched, meters: Meters::new()?, shop, database })
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
        // What earlier slices wrote is not for this one to pay.
        sqlx::query("CHECKPOINT").execute(&self.database).await.context("no checkpoint")?;
        let before = self.meters.read(&self.programs).await?;
        self.watched.forget_peaks();
        let (began, used) = (Instant::now(), self.watched.read()?);
        let (accepted, ordering) =
            clients::order(&self.shop, slice.clients, slice.length, round, share).await?;
        let whole = self.effects(&before, accepted, began).await?;
        let after = self.spans().await?;
        Ok(Outcome {
            accepted,
            ordering,
            whole,
            spent: self.watched.since(&used, accepted)?,
            exported: after.exported - before.exported,
            dropped: after.dropped - before.dropped,
        })
    }

    /// Waits until every stage is done with so many orders more than `before`. Returns the time since `began`.
    async fn effects(&mut self, before: &Counts, orders: u64, began: Instant) -> anyhow::Result<Duration> {
        let deadline = Instant::now() + EFFECTS;
        loop {
            let counts = self.meters.read(&self.programs).await?;
            if counts.done.len() != before.done.len() {
                bail!("a process counts something else than before");
            }
            let mut done = counts.done.iter().zip(&before.done).map(|(now, before)| now - before);
            if done.all(|done| done >= orders) {
                return Ok(began.elapsed());
            }
            for program in &mut self.programs {
                program.check()?;
            }
            if Instant::now() > deadline {
                bail!(
                    "effects are missing after {EFFECTS:?}: {orders} orders, since then {counts:?} after {before:?}"
                );
            }
            sleep(LOOK).await;
        }
    }

    /// Waits until no more spans are sent.
    async fn spans(&self) -> anyhow::Result<Counts> {
        let deadline = Instant::now() + SPANS;
        let mut counts = self.meters.read(&self.programs).await?;
        loop {
            sleep(QUIET).await;
            let now = self.meters.read(&self.programs).await?;
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
        self.database.close().await;
        programs::stop(self.programs).await
    }
}
