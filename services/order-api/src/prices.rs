//! Prices, read for many orders at a time.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use contracts::Money;
use persistence::grouped::GroupWork;
use persistence::sql::Shared;
use sqlx::PgPool;

use crate::patience::within;
use crate::store;

/// Reads prices.
#[derive(Debug)]
pub(crate) struct PriceReader {
    pub(crate) pool: PgPool,
    /// For reading them.
    pub(crate) patience: Duration,
}

/// Prices of those products that exist, of all orders that were priced together.
pub(crate) type Prices = Arc<HashMap<i32, Money>>;

impl GroupWork for PriceReader {
    /// The products of an order.
    type Item = Vec<i32>;
    type Outcome = Shared<Prices>;

    async fn carry_out(&self, orders: Vec<Vec<i32>>) -> Vec<Shared<Prices>> {
        let products: BTreeSet<i32> = orders.iter().flatten().copied().collect();
        let products: Vec<i32> = products.into_iter().collect();
        let prices = within(self.patience, store::prices(&self.pool, &products)).await;
        let shared = Shared { items: orders.len(), result: prices.map(Arc::new).map_err(Arc::new) };
        vec![shared; orders.len()]
    }
}
