//! What an order does to the stock.

use std::collections::BTreeMap;

use contracts::{Envelope, OrderCreated};
use messaging::consumer::{Answer, Delivery, Handler};
use persistence::{errors, inbox};
use sqlx::PgPool;

use crate::store;

/// Takes the lines of an order off the stock, once per event.
pub struct Inventory {
    pool: PgPool,
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
    pub(crate) product_id: i32,
    pub(crate) quantity: i32,
    pub(crate) outcome: Outcome,
}

impl Inventory {
    /// Over the pool of the inventory database.
    pub fn new(pool: PgPool) -> Self {
        Self { pool }
    }

    async fn apply(&self, event: &Envelope<OrderCreated>) -> Result<(), sqlx::Error> {
        let mut transaction = self.pool.begin().await?;
        if inbox::first_delivery(&mut transaction, event.id, event.occurred_at).await? {
            let wanted = wanted(&event.data);
            let stock =
                store::lock_stock(&mut transaction, &wanted.keys().copied().collect::<Vec<_>>()).await?;
            store::record(&mut transaction, event.data.order_id, &decide(&wanted, &stock)).await?;
        }
        transaction.commit().await
    }
}

impl Handler for Inventory {
    type Event = Envelope<OrderCreated>;

    async fn handle(&self, event: &Self::Event, _: &Delivery) -> Answer {
        match self.apply(event).await {
            Ok(()) => Answer::Ok,
            Err(error) if errors::is_fault_of_the_data(&error) => {
                Answer::Poison(format!("database: {error}"))
            }
            Err(error) => Answer::Unavailable(format!("database: {error}")),
        }
    }
}

/// Pieces per product, ascending: rows are locked in this order by everybody, so that two orders never wait for each other.
fn wanted(order: &OrderCreated) -> BTreeMap<i32, i32> {
    let mut wanted = BTreeMap::new();
    for line in &order.items {
        let quantity: &mut i32 = wanted.entry(line.product_id).or_default();
        *quantity = quantity.saturating_add(line.quantity);
    }
    wanted
}

/// Each line stands for itself: what is there is reserved, what is not is recorded as insufficient.
fn decide(wanted: &BTreeMap<i32, i32>, stock: &BTreeMap<i32, i32>) -> Vec<Reservation> {
    wanted
        .iter()
        .map(|(&product_id, &quantity)| {
            let on_hand = stock.get(&product_id).copied().unwrap_or(0);
            let outcome = if on_hand >= quantity { Outcome::Reserved } else { Outcome::Insufficient };
            Reservation { product_id, quantity, outcome }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_product_that_the_stock_does_not_know_is_insufficient() {
        let decided = decide(&BTreeMap::from([(7, 1)]), &BTreeMap::new());
        assert_eq!(decided, [Reservation { product_id: 7, quantity: 1, outcome: Outcome::Insufficient }]);
    }

    #[test]
    fn the_last_piece_can_be_reserved() {
        let decided = decide(&BTreeMap::from([(7, 3)]), &BTreeMap::from([(7, 3)]));
        assert_eq!(decided[0].outcome, Outcome::Reserved);
    }

    proptest! {
        #[test]
        fn no_decision_takes_more_than_is_there_and_none_refuses_what_is(
            wanted in proptest::collection::btree_map(1..20i32, 1..1000i32, 1..10),
            stock in proptest::collection::btree_map(1..20i32, 0..1000i32, 0..20),
        ) {
            let decided = decide(&wanted, &stock);
            prop_assert_eq!(decided.len(), wanted.len());
            for line in decided {
                let on_hand = stock.get(&line.product_id).copied().unwrap_or(0);
                prop_assert_eq!(line.outcome == Outcome::Reserved, on_hand >= line.quantity);
            }
        }
    }
}
