//! The accepted orders: what everything else is measured by.

use chrono::{DateTime, Utc};
use uuid::Uuid;

/// An accepted order, as small as a million of them want to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Its id, the key of its events.
    pub id: Uuid,
    /// When the database accepted it.
    pub created_at: DateTime<Utc>,
    /// How many events it has: their sequence is 1 to this.
    pub events: i64,
    /// What it costs, in cents.
    pub revenue_cents: i64,
    /// What was ordered.
    pub lines: Lines,
}

/// The lines of an order in 16 bytes: how many pieces, and a checksum that tells which products. It does not depend on the order of
/// the lines, nor on whether two lines of one product are merged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lines {
    /// Pieces over all products.
    pub pieces: i64,
    checksum: u64,
}

impl Lines {
    /// Adds pieces of a product.
    pub fn add(&mut self, product_id: i32, quantity: i64) {
        self.pieces = self.pieces.saturating_add(quantity);
        let product = mix(u64::from(product_id.cast_unsigned()) + 1);
        self.checksum = self.checksum.wrapping_add(product.wrapping_mul(quantity.cast_unsigned()));
    }
}

/// Spreads neighbouring numbers over all of 64 bits (the finaliser of SplitMix64).
fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// All accepted orders, found by id.
#[derive(Debug, Default)]
pub struct Orders(Vec<Order>);

impl Orders {
    /// Sorts them by id. An id that comes twice is kept once: ids are unique in the database.
    pub fn new(mut orders: Vec<Order>) -> Self {
        orders.sort_unstable_by_key(|order| order.id);
        orders.dedup_by_key(|order| order.id);
        Self(orders)
    }

    /// Where the order stands in [`Orders::all`].
    pub fn position(&self, id: Uuid) -> Option<usize> {
        self.0.binary_search_by_key(&id, |order| order.id).ok()
    }

    /// The orders by id.
    pub fn all(&self) -> &[Order] {
        &self.0
    }

    /// The same, to fill in lines.
    pub fn get_mut(&mut self, position: usize) -> Option<&mut Order> {
        self.0.get_mut(position)
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
