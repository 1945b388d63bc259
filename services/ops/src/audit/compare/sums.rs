//! Sums per product: the stock, and the sales.

use std::collections::{BTreeMap, BTreeSet};

use super::stage::{Kind, Stage};

/// What one database says about the stock of a product at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stock {
    /// The product.
    pub product_id: i32,
    /// Pieces now.
    pub on_hand: i64,
    /// Pieces delivered and corrected, from the beginning.
    pub moved: i64,
    /// Pieces reserved by orders, from the beginning.
    pub reserved: i64,
}

/// The row of the stock: what was there at the beginning and came since, minus what was reserved, is what is there.
pub fn stock(mut stage: Stage, products: &[Stock]) -> Stage {
    stage.checked = products.len() as u64;
    for product in products {
        let expected = product.moved - product.reserved;
        // Fewer pieces than the reservations account for were taken twice; more were reserved and never taken.
        let column = if product.on_hand < expected { Kind::Doubled } else { Kind::Missing };
        stage.add(column, u64::from(product.on_hand != expected), || {
            let detail = format!(
                "{} on hand, but {} delivered and {} reserved leave {expected}",
                product.on_hand, product.moved, product.reserved
            );
            (format!("product {}", product.product_id), detail)
        });
    }
    stage
}

/// Pieces and revenue of a product.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sale {
    /// Pieces.
    pub pieces: i64,
    /// Revenue in cents.
    pub revenue_cents: i64,
}

/// Sales by product id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProductSums(pub BTreeMap<i32, Sale>);

impl ProductSums {
    /// Adds pieces of a product at a price.
    pub fn add(&mut self, product_id: i32, pieces: i64, revenue_cents: i64) {
        let sum = self.0.entry(product_id).or_default();
        sum.pieces += pieces;
        sum.revenue_cents += revenue_cents;
    }

    /// Adds what `other` holds.
    pub fn add_all(&mut self, other: &Self) {
        for (product_id, sale) in &other.0 {
            self.add(*product_id, sale.pieces, sale.revenue_cents);
        }
    }

    /// Takes away what `other` holds.
    pub fn subtract(&mut self, other: &Self) {
        for (product_id, sale) in &other.0 {
            self.add(*product_id, -sale.pieces, -sale.revenue_cents);
        }
    }

    fn of(&self, product_id: i32) -> Sale {
        self.0.get(&product_id).copied().unwrap_or_default()
    }
}

/// The row of the sales: what is counted lies between what `must` be counted and that plus what `may` be.
pub fn sales(mut stage: Stage, must: &ProductSums, may: &ProductSums, found: &ProductSums) -> Stage {
    let products: BTreeSet<i32> = must.0.keys().chain(found.0.keys()).copied().collect();
    stage.checked = products.len() as u64;
    for product_id in products {
        let (least, more, have) = (must.of(product_id), may.of(product_id), found.of(product_id));
        let too_much = have.pieces > least.pieces + more.pieces
            || have.revenue_cents > least.revenue_cents + more.revenue_cents;
        let too_little = have.pieces < least.pieces || have.revenue_cents < least.revenue_cents;
        let column = if too_much { Kind::Doubled } else { Kind::Missing };
        stage.add(column, u64::from(too_much || too_little), || {
            let detail = format!(
                "{} pieces for {} cents counted, ordered were {} for {}",
                have.pieces, have.revenue_cents, least.pieces, least.revenue_cents
            );
            (format!("product {product_id}"), detail)
        });
    }
    stage
}
