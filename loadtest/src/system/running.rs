//! The running system: its processes, what they count and what they use.

use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::json;
use sqlx::PgPool;
use tokio::time::{Instant, sleep};

use super::SystemArgs;
use super::meters::{Counts, Meters};
use super::programs::{self, Launch, Program};
use crate::bench::Common;
use crate::usage::Watched;

/// For the companies to take their settings.
const PATIENCE: Duration = Duration::from_secs(30);
/// For the effects of all orders of a load.
const EFFECTS: Duration = Duration::from_secs(300);
/// How often it is looked whether they are there.
const LOOK: Duration = Duration::from_millis(50);

/// All processes of the system, and those that serve it. The companies do their part at once and never fail.
pub(crate) struct Running {
    pub(crate) watched: Watched,
    programs: Vec<Program>,
    meters: Meters,
    database: PgPool,
}

impl Running {
    /// Starts the programs, with `settings` of their own.
    pub(crate) async fn start(
        common: &Common,
        system: &SystemArgs,
        settings: &[(&'static str, String)],
    ) -> anyhow::Result<Self> {
        let SystemArgs { programs, folder, addresses, redis_pid } = system;
        let database = persistence::pool::connect_lazy(&common.orders.orders_database_url, 1, "bench")?;
        let launch = Launch { programs, logs: folder, settings };
        let programs = programs::start(launch, &addresses.named()).await?;
        let watched = Watched::default()
            .family("postgres", common.postgres_pid)
            .process("kafka", common.kafka_pid)
            .process("redis", *redis_pid)
            .process("bench", i32::try_from(std::process::id())?);
        let watched =
            programs.iter().fold(watched, |watched, program| watched.process(program.name, program.pid));
        let at_once = json!({ "latency_ms": 0, "failure_rate": 0.0, "lost_answer_rate": 0.0 });
        reqwest::Client::new()
            .put(format!("http://{}/api/settings", addresses.provider_sim_addr))
            .timeout(PATIENCE)
            .json(&json!({ "email": at_once, "sms": at_once }))
            .send()
            .await
            .and_then(reqwest::Response::error_for_status)
            .context("provider-sim takes no settings")?;
        Ok(Self { watched, programs, meters: Meters::new()?, database })
    }

    /// PostgreSQL writes everything that it has put off. What was written before is not for the next load to pay.
    pub(crate) async fn checkpoint(&self) -> anyhow::Result<()> {
        sqlx::query("CHECKPOINT").execute(&self.database).await.context("no checkpoint")?;
        Ok(())
    }

    /// Bytes of the write-ahead log that PostgreSQL has written since it was made, for all databases together.
    pub(crate) async fn wal(&self) -> anyhow::Result<u64> {
        let bytes: i64 = sqlx::query_scalar("SELECT (pg_current_wal_lsn() - '0/0')::bigint")
            .fetch_one(&self.database)
            .await
            .context("the write-ahead log has no end")?;
        Ok(u64::try_from(bytes)?)
    }

    /// What all of them have counted so far.
    pub(crate) async fn counts(&self) -> anyhow::Result<Counts> {
        self.meters.read(&self.programs).await
    }

    /// Waits until every stage is done with so many orders more than `before`. Returns the time since `began`.
    pub(crate) async fn effects(
        &mut self,
        before: &Counts,
        orders: u64,
        began: Instant,
    ) -> anyhow::Result<Duration> {
        let deadline = Instant::now() + EFFECTS;
        loop {
            let counts = self.counts().await?;
            if counts.since(before)?.iter().all(|done| *done >= orders) {
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

    /// Ends the programs.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        self.database.close().await;
        programs::stop(self.programs).await
    }
}
