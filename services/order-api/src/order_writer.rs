//! Writes orders, those that come together in one statement.
//!
//! A statement for many orders costs the database little more than one for a single order: one round trip, one flush to disk. What comes of an
//! order is its own all the same: a group that the database refuses is written order by order.

use std::collections::HashSet;

use persistence::grouped::GroupWork;
use persistence::outbox::Poke;
use persistence::sql::Shared;
use sqlx::PgPool;
use storefront::PricedOrder;
use tokio::time::Instant;
use tracing::warn;
use uuid::Uuid;

use crate::idempotency::Claim;
use crate::patience::{PATIENCE, in_time};
use crate::store::{self, NewEvent};

/// An order with everything that is written of it.
pub(crate) struct OrderRows {
    pub(crate) order: PricedOrder,
    pub(crate) event: NewEvent,
    pub(crate) trace_id: Option<String>,
    pub(crate) claim: Option<Claim>,
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    /// It stands, and its event will be published.
    New,
    /// Its key stands for an order already, and nothing was written.
    KeyTaken,
    /// It was not sent to the database.
    NotSent,
    /// It was sent, and no answer came.
    Unknown,
}

/// Writes orders to the database behind `pool`, and wakes the relay.
pub(crate) struct OrderWriter {
    pub(crate) pool: PgPool,
    pub(crate) poke: Poke,
}

impl GroupWork for OrderWriter {
    type Item = OrderRows;
    type Outcome = Shared<Written>;

    async fn carry_out(&self, orders: Vec<OrderRows>) -> Vec<Shared<Written>> {
        let begin = Instant::now();
        let mut outcomes = vec![Written::NotSent; orders.len()];
        for places in rounds(&orders) {
            if begin.elapsed() >= PATIENCE {
                break;
            }
            let round: Vec<&OrderRows> = places.iter().filter_map(|place| orders.get(*place)).collect();
            for (place, outcome) in places.iter().zip(self.write(&round, begin).await) {
                if let Some(slot) = outcomes.get_mut(*place) {
                    *slot = outcome;
                }
            }
        }
        if outcomes.contains(&Written::New) {
            self.poke.poke();
        }
        let shared = |outcome| Shared { items: orders.len(), result: Ok(outcome) };
        outcomes.into_iter().map(shared).collect()
    }
}

impl OrderWriter {
    /// Writes `orders`, none of which has the key of another. What was not begun in time since `begin` is not begun.
    async fn write(&self, orders: &[&OrderRows], begin: Instant) -> Vec<Written> {
        match self.insert(orders).await {
            Ok(outcomes) => outcomes,
            Err(NotInserted::Refused) if orders.len() > 1 => {
                let mut outcomes = Vec::with_capacity(orders.len());
                for order in orders {
                    let late = begin.elapsed() >= PATIENCE;
                    let outcome = if late { None } else { Some(self.insert(&[*order]).await) };
                    outcomes.push(match outcome {
                        None => Written::NotSent,
                        Some(Ok(outcome)) => outcome.first().copied().unwrap_or(Written::Unknown),
                        Some(Err(failure)) => failure.of_one(),
                    });
                }
                outcomes
            }
            Err(failure) => vec![failure.of_one(); orders.len()],
        }
    }

    async fn insert(&self, orders: &[&OrderRows]) -> Result<Vec<Written>, NotInserted> {
        // Up to here nothing is sent, so callers may try again without a second order.
        let mut connection = in_time(self.pool.acquire()).await.map_err(|error| {
            warn!(%error, orders = orders.len(), "no connection to the database, orders not taken");
            NotInserted::NotSent
        })?;
        let written = in_time(store::insert(&mut connection, orders)).await.map_err(|error| {
            warn!(%error, orders = orders.len(), "orders that were sent to the database are not written");
            match error {
                sqlx::Error::Database(_) => NotInserted::Refused,
                _ => NotInserted::Unknown,
            }
        })?;
        let written: HashSet<Uuid> = written.into_iter().collect();
        let outcome = |rows: &&OrderRows| match written.contains(&rows.order.id) {
            true => Written::New,
            false => Written::KeyTaken,
        };
        Ok(orders.iter().map(outcome).collect())
    }
}

/// Why a statement wrote nothing, as far as is known.
#[derive(Clone, Copy, Debug)]
enum NotInserted {
    NotSent,
    /// The database said so, and rolled everything back.
    Refused,
    Unknown,
}

impl NotInserted {
    /// For an order that was alone.
    fn of_one(self) -> Written {
        match self {
            Self::NotSent => Written::NotSent,
            Self::Refused | Self::Unknown => Written::Unknown,
        }
    }
}

/// The places of `orders`, so that no key stands twice in a round and what came first under a key is first. One statement cannot write a key twice;
/// the second order has to find what the first one left.
fn rounds(orders: &[OrderRows]) -> Vec<Vec<usize>> {
    let mut rounds: Vec<(HashSet<&str>, Vec<usize>)> = Vec::new();
    for (place, rows) in orders.iter().enumerate() {
        let key = rows.claim.as_ref().map(|claim| claim.key.as_str());
        let free = |(keys, _): &(HashSet<&str>, _)| key.is_none_or(|key| !keys.contains(key));
        let round = rounds.iter().position(free).unwrap_or(rounds.len());
        if round == rounds.len() {
            rounds.push(Default::default());
        }
        if let Some((keys, places)) = rounds.get_mut(round) {
            keys.extend(key);
            places.push(place);
        }
    }
    rounds.into_iter().map(|(_, places)| places).collect()
}
