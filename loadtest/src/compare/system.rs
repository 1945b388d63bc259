//! One of the two systems, running.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, bail};
use sqlx::PgPool;
use tokio::time::{Instant, sleep};

use super::settings::Settings;
use crate::load::watch::Named;
use crate::system::SystemArgs;
use crate::system::meters::Meters;
use crate::system::programs::{self, Launch, Program};

/// For the effects of all orders of a part.
const EFFECTS: Duration = Duration::from_secs(300);
const LOOK: Duration = Duration::from_millis(50);
/// Our own connections, which belong to neither system.
const OWN: &str = "loadtest";

/// One of the two, and what it takes to measure it.
#[derive(Debug)]
pub(super) struct System {
    /// Its name in texts.
    pub(super) name: &'static str,
    /// Where it takes requests.
    pub(super) address: SocketAddr,
    /// Its processes, the servers that it needs, and this one, which makes the load.
    pub(super) processes: Vec<Named>,
    /// Names of the connections that its product reads use.
    pub(super) read_path: &'static [&'static str],
    /// The database with its orders.
    pub(super) database: PgPool,
    programs: Vec<Program>,
    meters: Meters,
    events: bool,
}

/// Orders that each stage is done with so far.
#[derive(Clone, Debug)]
pub(super) struct Effects(Vec<u64>);

impl System {
    /// The one with events and the cache.
    ///
    /// # Errors
    /// A program does not start.
    pub(super) async fn event_driven(settings: &Settings) -> anyhow::Result<Self> {
        let SystemArgs { addresses, redis_pid, .. } = &settings.system;
        let servers =
            [("postgres", settings.postgres_pid), ("kafka", settings.kafka_pid), ("redis", *redis_pid)];
        // The simulated companies fail one message in twenty. So many attempts leave no message to bad luck alone.
        let environment = [("RETRY_MAX_ATTEMPTS", "10".to_owned())];
        let programs = start(settings, &addresses.named(), &environment).await?;
        Ok(Self {
            name: "event-driven",
            address: addresses.order_api_addr,
            processes: processes(&programs, &servers),
            read_path: &["order-api read"],
            database: database(&settings.orders.orders_database_url)?,
            programs,
            meters: Meters::new()?,
            events: true,
        })
    }

    /// The one whose callers wait for everything.
    ///
    /// # Errors
    /// It does not start, or its shelves cannot be filled.
    pub(super) async fn baseline(settings: &Settings) -> anyhow::Result<Self> {
        let address = settings.baseline_addr;
        let programs = start(settings, &[("baseline", address)], &[]).await?;
        let database = database(&settings.baseline_database_url)?;
        // As full as those of the other one, or orders would skip the update of the stock.
        let restock = "UPDATE products SET stock = 1000000";
        sqlx::query(restock).execute(&database).await.context("the baseline's stock could not be filled")?;
        Ok(Self {
            name: "baseline",
            address,
            processes: processes(&programs, &[("postgres", settings.postgres_pid)]),
            read_path: &["baseline"],
            database,
            programs,
            meters: Meters::new()?,
            events: false,
        })
    }

    /// Whether a connection of this name is one of this system's.
    pub(super) fn owns(&self, connection: &str) -> bool {
        match self.events {
            true => !["baseline", OWN, ""].contains(&connection),
            false => connection == "baseline",
        }
    }

    /// What its stages are done with so far.
    ///
    /// # Errors
    /// A process does not say.
    pub(super) async fn effects(&self) -> anyhow::Result<Effects> {
        if !self.events {
            return Ok(Effects(Vec::new()));
        }
        Ok(Effects(self.meters.read(&self.programs).await?.done))
    }

    /// Waits until every stage is done with so many orders more than `before`. Returns how many orders waited for a stage at first, and how
    /// long that took; none if callers wait for all stages anyway.
    ///
    /// # Errors
    /// A process ended, or effects do not come.
    pub(super) async fn drain(
        &mut self,
        before: Effects,
        orders: u64,
    ) -> anyhow::Result<Option<(u64, Duration)>> {
        if !self.events {
            return Ok(None);
        }
        let (began, mut first) = (Instant::now(), None);
        loop {
            let Effects(now) = self.effects().await?;
            if now.len() != before.0.len() || now.is_empty() {
                bail!("a process counts something else than before");
            }
            let done = now.iter().zip(&before.0).map(|(now, before)| now.saturating_sub(*before)).min();
            let missing = orders.saturating_sub(done.unwrap_or_default());
            let waited = *first.get_or_insert(missing);
            if missing == 0 {
                return Ok(Some((waited, began.elapsed())));
            }
            for program in &mut self.programs {
                program.check()?;
            }
            if began.elapsed() > EFFECTS {
                bail!("of {orders} orders {missing} still wait for an effect after {EFFECTS:?}");
            }
            sleep(LOOK).await;
        }
    }

    /// Ends its programs.
    ///
    /// # Errors
    /// One of them had ended before, or does not end well.
    pub(super) async fn stop(self) -> anyhow::Result<()> {
        self.database.close().await;
        programs::stop(self.programs).await
    }
}

async fn start(
    settings: &Settings,
    names: &[(&'static str, SocketAddr)],
    environment: &[(&'static str, String)],
) -> anyhow::Result<Vec<Program>> {
    let SystemArgs { programs, folder, .. } = &settings.system;
    programs::start(Launch { programs, logs: folder, settings: environment }, names).await
}

fn processes(programs: &[Program], servers: &[(&str, i32)]) -> Vec<Named> {
    let programs = programs.iter().map(|program| Named::new(program.name, program.pid));
    let servers = servers.iter().map(|(name, pid)| Named::new(*name, *pid));
    programs.chain(servers).chain([Named::own()]).collect()
}

fn database(url: &str) -> anyhow::Result<PgPool> {
    Ok(persistence::pool::connect_lazy(url, 1, OWN)?)
}
