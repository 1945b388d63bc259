//! What both systems go through, in the same order.

use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use serde::Serialize;

use super::connections;
use super::settings::Amounts;
use super::system::System;
use crate::load::PRODUCTS;
use crate::load::drive::{Load, Users};
use crate::load::http::Connection;
use crate::load::journal::{Journal, Ledger};
use crate::load::request::{Mix, Script};
use crate::load::schedule::Schedule;
use crate::report::run::Run;
use crate::scenario::MIX;
use crate::scenario::course::{Course, Drive};

/// Both are asked the same.
const SEED: u64 = 1;
/// A request that is not answered for so long counts as one without an answer. Within it the baseline works off what waits for its database.
const TIMEOUT: Duration = Duration::from_secs(15);
/// Requests of the open loop on their way at a time.
const IN_FLIGHT: usize = 1_000;
const READS: Mix = Mix { products: 1, orders: 0 };
const ORDERS: Mix = Mix { products: 0, orders: 1 };

/// A part of the comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Phase {
    SingleReads,
    SingleOrders,
    Thinking,
    Reads,
    Open,
    Hurried,
}

/// What one system came to.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Findings {
    /// Each part.
    pub(super) runs: BTreeMap<Phase, Run>,
    /// Connections to the database that the read path had at most while only products were read.
    pub(super) read_connections: u64,
    /// The same of the whole system.
    pub(super) connections: u64,
    /// Orders whose effects were not there yet when a part ended. Without events there are none.
    pub(super) waiting: BTreeMap<Phase, u64>,
    /// Seconds until the last effect was there.
    pub(super) drain_seconds: BTreeMap<Phase, f64>,
    /// Orders that clients were told to stand.
    pub(super) accepted: u64,
    /// Orders of which nobody told them.
    pub(super) in_doubt: u64,
}

impl Phase {
    pub(super) const ALL: [Self; 6] =
        [Self::SingleReads, Self::SingleOrders, Self::Thinking, Self::Reads, Self::Open, Self::Hurried];

    fn drive(self, amounts: &Amounts) -> (Drive, Mix, Duration) {
        let single = |length: Duration, mix| {
            let users = Users { count: 1, ramp: 1.0, think: None };
            // The first requests open what is opened at need.
            let warm_up = length / 10;
            (Drive::Closed { users, length: length + warm_up }, mix, warm_up)
        };
        let users = |think, length: Duration, mix| {
            let (users, ramp) =
                (Users { count: amounts.users, ramp: amounts.ramp, think }, amounts.ramp_length());
            (Drive::Closed { users, length: ramp + length }, mix, ramp)
        };
        match self {
            Self::SingleReads => single(amounts.single_reads, READS),
            Self::SingleOrders => single(amounts.single_orders, ORDERS),
            Self::Thinking => users(Some(amounts.think), amounts.users_length, MIX),
            Self::Hurried => users(None, amounts.users_length * 2 / 3, MIX),
            Self::Reads => {
                let users = Users { count: amounts.users, ramp: 1e6, think: None };
                (Drive::Closed { users, length: amounts.reads }, READS, Duration::ZERO)
            }
            Self::Open => {
                let schedule = Schedule::constant(amounts.rate, amounts.open_warm_up + amounts.open);
                (Drive::Open { schedule, in_flight: IN_FLIGHT }, MIX, amounts.open_warm_up)
            }
        }
    }
}

impl Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SingleReads => "one caller reads products",
            Self::SingleOrders => "one caller orders",
            Self::Thinking => "users who think",
            Self::Reads => "users who only read",
            Self::Open => "the mix in an open loop",
            Self::Hurried => "users who do not think",
        })
    }
}

/// Does everything to a system. Returns what came of it, and the orders that have to be found.
///
/// # Errors
/// A process ended, or effects do not come.
pub(super) async fn measure(system: &mut System, amounts: &Amounts) -> anyhow::Result<(Findings, Ledger)> {
    let (mut findings, mut ledger) = (Findings::default(), Ledger::default());
    read_all(system).await?;
    for phase in Phase::ALL {
        let before = system.effects().await?;
        let (drive, mix, warm_up) = phase.drive(amounts);
        let journal = Arc::new(Journal::default());
        let course = Course {
            title: format!("{}: {phase}", system.name),
            load: Load {
                origin: system.address.into(),
                script: Arc::new(Script::new(mix, SEED)),
                seed: SEED + phase as u64,
                timeout: TIMEOUT,
                journal: journal.clone(),
            },
            drive,
            warm_up,
            processes: system.processes.clone(),
            progress: false,
        };
        let (run, seen) = if phase == Phase::Reads {
            connections::most_while(&system.database, course.run()).await?
        } else {
            (course.run().await?, BTreeMap::new())
        };
        if phase == Phase::Reads {
            findings.read_connections = system.read_path.iter().filter_map(|name| seen.get(*name)).sum();
            findings.connections =
                seen.iter().filter(|(name, _)| system.owns(name)).map(|(_, count)| count).sum();
        }
        eprintln!("  {}: {}", course.title, run.rates());
        let orders = journal.take_ledger();
        let accepted = u64::try_from(orders.accepted.len())?;
        if accepted > 0
            && let Some((waiting, drained)) = system.drain(before, accepted).await?
        {
            findings.waiting.insert(phase, waiting);
            findings.drain_seconds.insert(phase, drained.as_secs_f64());
        }
        ledger.add(orders);
        findings.runs.insert(phase, run);
    }
    findings.accepted = u64::try_from(ledger.accepted.len())?;
    findings.in_doubt = ledger.in_doubt;
    Ok((findings, ledger))
}

/// Every product once, so that caches are warm and connections open.
async fn read_all(system: &System) -> anyhow::Result<()> {
    let mut connection = Connection::new(system.address, TIMEOUT);
    for id in 1..=PRODUCTS {
        let answer = connection.get(&format!("/api/product/{id}")).await?;
        if !answer.status.is_success() {
            bail!("{} answers {} for product {id}", system.name, answer.status);
        }
    }
    Ok(())
}
