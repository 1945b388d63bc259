//! Effects of which an order has exactly one.

use uuid::Uuid;

use super::excuses::{Excuse, Excuses};
use super::orders::Orders;
use super::stage::{Kind, Stage};

/// Counts effects per order.
#[derive(Debug)]
pub struct Once {
    stage: Stage,
    counts: Vec<u8>,
}

impl Once {
    /// Nothing seen yet of `orders` orders.
    pub fn new(stage: Stage, orders: usize) -> Self {
        Self { stage, counts: vec![0; orders] }
    }

    /// The effect of the order at `position`, one time more.
    pub fn effect(&mut self, position: usize) {
        if let Some(count) = self.counts.get_mut(position) {
            *count = count.saturating_add(1);
        }
    }

    /// A repeat that was recognised by `key`.
    pub fn repeat(&mut self, subject: &str, key: &str) {
        self.stage.add(Kind::Repeated, 1, || (subject.to_owned(), format!("seen again under the key {key}")));
    }

    /// An effect that no order accounts for.
    pub fn phantom(&mut self, subject: &str) {
        self.stage.add(Kind::Doubled, 1, || (subject.to_owned(), "there is no such order".to_owned()));
    }

    /// The row.
    pub fn finish(mut self, orders: &Orders, excuses: &Excuses<'_>) -> Stage {
        self.stage.checked = orders.len() as u64;
        for (position, (order, count)) in orders.all().iter().zip(&self.counts).enumerate() {
            match count {
                0 => absent(&mut self.stage, order.id, excuses.of(position)),
                1 => {}
                more => self.stage.add(Kind::Doubled, u64::from(more - 1), || {
                    (order.id.to_string(), format!("{more} times instead of once"))
                }),
            }
        }
        self.stage
    }
}

/// An effect that is not there, with its excuse if it has one.
pub(super) fn absent(stage: &mut Stage, order: Uuid, excuse: Option<Excuse>) {
    let (column, detail) = match excuse {
        None => (Kind::Missing, "has had no effect"),
        Some(Excuse::Waiting(place)) => (Kind::Waiting, place),
        Some(Excuse::Skipped) => (Kind::Skipped, "its event was skipped"),
    };
    stage.add(column, 1, || (order.to_string(), detail.to_owned()));
}
