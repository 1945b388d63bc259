//! Writes orders, those that come together in one statement.
//!
//! A statement for many orders costs the database little more than one for a single order: one round trip, one flush to disk. What comes of an
//! order is its own all the same. A group that the database refuses, and so rolls back, is written in halves, until the order that it does not take
//! stands alone; orders without a key come first, since only a key can keep a statement waiting for another one.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::time::Duration;

use persistence::grouped::GroupWork;
use persistence::outbox::Poke;
use persistence::sql::Shared;
use sqlx::PgPool;
use storefront::PricedOrder;
use tokio::time::Instant;
use tracing::warn;
use uuid::Uuid;

use crate::idempotency::Claim;
use crate::patience::within;
use crate::store::{self, NewEvent};

#[cfg(test)]
mod tests;

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
    /// For a group, whatever that takes. What is not begun by then is not sent.
    pub(crate) patience: Duration,
}

impl GroupWork for OrderWriter {
    type Item = OrderRows;
    type Outcome = Shared<Written>;

    async fn carry_out(&self, orders: Vec<OrderRows>) -> Vec<Shared<Written>> {
        let (firsts, repeats) = by_key(&orders);
        let mut outcomes = vec![Written::NotSent; orders.len()];
        self.write(&orders, firsts, &mut outcomes).await;
        if outcomes.contains(&Written::New) {
            self.poke.poke();
        }
        // They were not sent, and need not be: what stands under their key is there to be read, or they may come again.
        for (place, first) in repeats {
            if matches!(outcomes[first], Written::New | Written::KeyTaken) {
                outcomes[place] = Written::KeyTaken;
            }
        }
        let shared = |outcome| Shared { items: orders.len(), result: Ok(outcome) };
        outcomes.into_iter().map(shared).collect()
    }
}

impl OrderWriter {
    /// Writes the orders at `places`, none of which has the key of another.
    async fn write(&self, orders: &[OrderRows], places: Vec<usize>, outcomes: &mut [Written]) {
        let deadline = Instant::now() + self.patience;
        let mut groups = vec![places];
        while let Some(mut places) = groups.pop() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                continue;
            }
            let group: Vec<&OrderRows> = places.iter().map(|place| &orders[*place]).collect();
            match self.insert(&group, left).await {
                Ok(written) => {
                    for place in places {
                        let new = written.contains(&orders[place].order.id);
                        outcomes[place] = if new { Written::New } else { Written::KeyTaken };
                    }
                }
                Err(NotInserted::Refused) if places.len() > 1 => {
                    // Those without a key in front, to be taken first.
                    places.sort_by_key(|place| orders[*place].claim.is_some());
                    let keyless = places.iter().filter(|place| orders[**place].claim.is_none()).count();
                    let half = places.len() / 2;
                    let middle = if keyless == 0 || keyless == places.len() { half } else { keyless };
                    groups.push(places.split_off(middle));
                    groups.push(places);
                }
                Err(NotInserted::NotSent) => {}
                Err(NotInserted::Refused | NotInserted::Unknown) => {
                    places.into_iter().for_each(|place| outcomes[place] = Written::Unknown);
                }
            }
        }
    }

    /// The ids of those that were written; the key of each other one stands for an order already.
    async fn insert(&self, orders: &[&OrderRows], patience: Duration) -> Result<HashSet<Uuid>, NotInserted> {
        let begin = Instant::now();
        // Up to here nothing is sent, so callers may try again without a second order.
        let mut connection = within(patience, self.pool.acquire()).await.map_err(|error| {
            warn!(%error, orders = orders.len(), "no connection to the database, orders not taken");
            NotInserted::NotSent
        })?;
        let left = patience.saturating_sub(begin.elapsed());
        let written = within(left, store::insert(&mut connection, orders)).await;
        written.map(HashSet::from_iter).map_err(|error| {
            warn!(%error, orders = orders.len(), "orders that were sent to the database are not written");
            match error {
                sqlx::Error::Database(_) => NotInserted::Refused,
                _ => NotInserted::Unknown,
            }
        })
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

/// The places of the orders that are the first with their key or have none; and of the others, each with the first one that has its key. One statement
/// cannot write a key twice.
fn by_key(orders: &[OrderRows]) -> (Vec<usize>, Vec<(usize, usize)>) {
    let mut first_with: HashMap<&str, usize> = HashMap::new();
    let (mut firsts, mut repeats) = (Vec::with_capacity(orders.len()), Vec::new());
    for (place, rows) in orders.iter().enumerate() {
        let Some(claim) = &rows.claim else {
            firsts.push(place);
            continue;
        };
        match first_with.entry(claim.key.as_str()) {
            Entry::Occupied(first) => repeats.push((place, *first.get())),
            Entry::Vacant(free) => {
                free.insert(place);
                firsts.push(place);
            }
        }
    }
    (firsts, repeats)
}
