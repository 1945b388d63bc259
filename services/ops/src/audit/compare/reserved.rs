//! Reservations against what was ordered.

use super::excuses::Excuses;
use super::once::absent;
use super::orders::{Lines, Orders};
use super::stage::{Kind, Stage};

/// Adds up what was decided for each order, reserved or not.
#[derive(Debug)]
pub struct Reserved {
    stage: Stage,
    found: Vec<Lines>,
}

impl Reserved {
    /// Nothing seen yet of `orders` orders.
    pub fn new(stage: Stage, orders: usize) -> Self {
        Self { stage, found: vec![Lines::default(); orders] }
    }

    /// A decided line of the order at `position`.
    pub fn line(&mut self, position: usize, product_id: i32, quantity: i64) {
        if let Some(found) = self.found.get_mut(position) {
            found.add(product_id, quantity);
        }
    }

    /// A line that no order accounts for.
    pub fn phantom(&mut self, subject: &str) {
        self.stage.add(Kind::Doubled, 1, || (subject.to_owned(), "there is no such order".to_owned()));
    }

    /// The row.
    pub fn finish(mut self, orders: &Orders, excuses: &Excuses<'_>) -> Stage {
        self.stage.checked = orders.len() as u64;
        for (position, (order, found)) in orders.all().iter().zip(&self.found).enumerate() {
            if *found == order.lines {
                continue;
            }
            if *found == Lines::default() {
                absent(&mut self.stage, order.id, excuses.of(position));
                continue;
            }
            // Lines are decided in one transaction, so a part of them has no excuse.
            let (column, what) = match found.pieces.cmp(&order.lines.pieces) {
                std::cmp::Ordering::Greater => (Kind::Doubled, "more"),
                std::cmp::Ordering::Less => (Kind::Missing, "fewer"),
                std::cmp::Ordering::Equal => (Kind::Missing, "other"),
            };
            let (have, want) = (found.pieces, order.lines.pieces);
            self.stage.add(column, 1, || {
                (order.id.to_string(), format!("{what} pieces than ordered: {have}, ordered {want}"))
            });
        }
        self.stage
    }
}
