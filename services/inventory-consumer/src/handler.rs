//! What orders do to the stock.

use std::collections::{BTreeMap, BTreeSet};

use contracts::{Envelope, OrderCreated};
use messaging::consumer::{Answer, BatchHandler, Delivered};
use persistence::inbox::{self, Arrival, BeyondHorizon};
use persistence::{errors, sql};
use sqlx::PgPool;
use telemetry::metrics::{Counters, Metrics};
use uuid::Uuid;

use crate::store;

/// Takes the lines of orders off the stock, once per event; a batch of them in one transaction.
pub struct Inventory {
    pool: PgPool,
    /// Lines by what was decided.
    lines: Counters<1>,
}

/// What was decided for one line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The pieces were taken off the stock.
    Reserved,
    /// There were too few; the stock is as it was.
    Insufficient,
}

impl Outcome {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Reserved => "reserved",
            Self::Insufficient => "insufficient",
        }
    }
}

/// One product of an order with its decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reservation {
    pub(crate) order_id: Uuid,
    pub(crate) product_id: i32,
    pub(crate) quantity: i32,
    pub(crate) outcome: Outcome,
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("database: {0}")]
    Database(#[from] sqlx::Error),
    #[error("{0}")]
    BeyondHorizon(BeyondHorizon),
}

impl Inventory {
    /// Over the pool of the inventory database.
    pub fn new(pool: PgPool) -> Self {
        let lines =
            Counters::new(["outcome"]).with([Outcome::Reserved.name()]).with([Outcome::Insufficient.name()]);
        Self { pool, lines }
    }

    /// Shows what it counts.
    pub fn register(&self, metrics: &Metrics) {
        self.lines.register(metrics, "stock_lines", "Lines of orders by whether there was enough on stock");
    }

    async fn apply(&self, batch: &[Delivered<Envelope<OrderCreated>>]) -> Result<(), Failure> {
        let events: Vec<_> = batch.iter().map(known).collect();
        let mut transaction = sql::begin(&self.pool).await?;
        let arrivals = inbox::first_deliveries(&mut transaction, &events).await?;
        if let Some(beyond) = Arrival::beyond_horizon(&arrivals) {
            return Err(Failure::BeyondHorizon(beyond));
        }
        batch.iter().zip(&arrivals).filter(|(_, arrival)| **arrival == Arrival::Repeat).for_each(
            |(one, _)| {
                one.delivery.repeated();
            },
        );
        let orders: Vec<Wanted> = batch
            .iter()
            .zip(arrivals)
            .filter(|(_, arrival)| *arrival == Arrival::First)
            .map(|(one, _)| Wanted::by(&one.event.data))
            .collect();
        let mut decided = Vec::new();
        if !orders.is_empty() {
            let mut stock = store::lock_stock(&mut transaction, &products(&orders)).await?;
            decided = decide(&orders, &mut stock);
            store::record(&mut transaction, &decided).await?;
        }
        sql::commit(transaction).await?;
        for line in &decided {
            self.lines.add([line.outcome.name()], 1);
        }
        Ok(())
    }
}

/// What the inbox has to know.
fn known(one: &Delivered<Envelope<OrderCreated>>) -> inbox::Event {
    let (id, occurred_at) = (one.event.id, one.event.occurred_at);
    inbox::Event { id, occurred_at, beyond_horizon: one.delivery.beyond_horizon }
}

impl BatchHandler for Inventory {
    type Event = Envelope<OrderCreated>;

    async fn handle_batch(&self, batch: &[Delivered<Self::Event>]) -> Answer {
        match self.apply(batch).await {
            Ok(()) => Answer::Ok,
            // Of one order: it is found by splitting.
            Err(failure @ Failure::BeyondHorizon(_)) => Answer::Poison(failure.to_string()),
            Err(Failure::Database(error)) if errors::is_fault_of_the_data(&error) => {
                Answer::Poison(format!("database: {error}"))
            }
            Err(failure) => Answer::Unavailable(failure.to_string()),
        }
    }
}

/// What an order wants.
#[derive(Clone, Debug)]
struct Wanted {
    order_id: Uuid,
    /// Pieces per product.
    pieces: BTreeMap<i32, i32>,
}

impl Wanted {
    fn by(order: &OrderCreated) -> Self {
        let mut pieces = BTreeMap::new();
        for line in &order.items {
            let quantity: &mut i32 = pieces.entry(line.product_id).or_default();
            *quantity = quantity.saturating_add(line.quantity);
        }
        Self { order_id: order.order_id, pieces }
    }
}

/// All products of the orders, ascending: rows are locked in this order by everybody, so that two batches never wait for each other.
fn products(orders: &[Wanted]) -> Vec<i32> {
    let products: BTreeSet<i32> = orders.iter().flat_map(|order| order.pieces.keys().copied()).collect();
    products.into_iter().collect()
}

/// Order after order, as if each came alone; `stock` is what is left for the next. Each line stands for itself: what is there is reserved,
/// what is not is recorded as insufficient.
fn decide(orders: &[Wanted], stock: &mut BTreeMap<i32, i32>) -> Vec<Reservation> {
    let mut decided = Vec::new();
    for order in orders {
        for (&product_id, &quantity) in &order.pieces {
            let outcome = match stock.get_mut(&product_id) {
                Some(on_hand) if *on_hand >= quantity => {
                    *on_hand -= quantity;
                    Outcome::Reserved
                }
                _ => Outcome::Insufficient,
            };
            decided.push(Reservation { order_id: order.order_id, product_id, quantity, outcome });
        }
    }
    decided
}

/// Pieces to take off the stock, per product.
pub(crate) fn taken(decided: &[Reservation]) -> BTreeMap<i32, i32> {
    let mut taken = BTreeMap::new();
    for line in decided.iter().filter(|line| line.outcome == Outcome::Reserved) {
        // Never more than was on hand, so it fits.
        let sum: &mut i32 = taken.entry(line.product_id).or_default();
        *sum = sum.saturating_add(line.quantity);
    }
    taken
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Stock = BTreeMap<i32, i32>;

    fn wanted(pieces: Stock) -> Wanted {
        Wanted { order_id: Uuid::nil(), pieces }
    }

    fn outcomes(pieces: &[(i32, i32)], stock: &[(i32, i32)]) -> Vec<Outcome> {
        let order = wanted(pieces.iter().copied().collect());
        let mut stock = stock.iter().copied().collect();
        decide(&[order], &mut stock).iter().map(|line| line.outcome).collect()
    }

    #[test]
    fn a_product_that_the_stock_does_not_know_is_insufficient() {
        assert_eq!(outcomes(&[(7, 1)], &[]), [Outcome::Insufficient]);
    }

    #[test]
    fn the_last_piece_can_be_reserved_and_then_there_is_none() {
        assert_eq!(outcomes(&[(7, 3)], &[(7, 3)]), [Outcome::Reserved]);
        let orders = [wanted(Stock::from([(7, 3)])), wanted(Stock::from([(7, 1)]))];
        let decided = decide(&orders, &mut Stock::from([(7, 3)]));
        assert_eq!([decided[0].outcome, decided[1].outcome], [Outcome::Reserved, Outcome::Insufficient]);
    }

    #[test]
    fn a_line_that_is_too_large_takes_nothing_from_a_smaller_one_after_it() {
        let orders = [wanted(Stock::from([(7, 9)])), wanted(Stock::from([(7, 2)]))];
        let decided = decide(&orders, &mut Stock::from([(7, 3)]));
        assert_eq!([decided[0].outcome, decided[1].outcome], [Outcome::Insufficient, Outcome::Reserved]);
    }

    /// What one order alone does, in the plainest words.
    fn alone(order: &Wanted, stock: &mut Stock) -> Vec<Reservation> {
        let before = stock.clone();
        order
            .pieces
            .iter()
            .map(|(&product_id, &quantity)| {
                let enough = before.get(&product_id).is_some_and(|on_hand| *on_hand >= quantity);
                if enough {
                    stock.insert(product_id, before[&product_id] - quantity);
                }
                let outcome = if enough { Outcome::Reserved } else { Outcome::Insufficient };
                Reservation { order_id: order.order_id, product_id, quantity, outcome }
            })
            .collect()
    }

    proptest! {
        #[test]
        fn however_orders_are_cut_into_batches_the_outcome_is_that_of_one_by_one(
            orders in proptest::collection::vec(
                proptest::collection::btree_map(1..6i32, 1..60i32, 1..5).prop_map(wanted), 1..30),
            stock in proptest::collection::btree_map(1..6i32, 0..300i32, 0..6),
            size in 1..12usize,
        ) {
            let mut one_by_one = stock.clone();
            let expected: Vec<_> = orders.iter().flat_map(|order| alone(order, &mut one_by_one)).collect();

            let (mut in_batches, mut decided) = (stock, Vec::new());
            for batch in orders.chunks(size) {
                // What the database hands out and takes back.
                let lines = decide(batch, &mut in_batches.clone());
                for (product, pieces) in taken(&lines) {
                    *in_batches.get_mut(&product).unwrap() -= pieces;
                }
                decided.extend(lines);
            }
            prop_assert_eq!(decided, expected);
            prop_assert_eq!(&in_batches, &one_by_one);
            prop_assert!(in_batches.values().all(|on_hand| *on_hand >= 0));
        }
    }
}
