//! Orders and revenue per minute.
//!
//! A rollup has no orders to look at, only sums. What a minute *must* hold and what it *may* hold beyond that are known from the
//! accepted orders; when the shop is quiet the two are the same and the comparison is exact.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use chrono::{DateTime, Utc};

use super::stage::{Kind, Stage};

/// The minute of an event that nobody has seen.
pub const UNKNOWN: i64 = i64::MIN;

/// Minutes since 1970, rounded down.
pub fn minute_of(at: DateTime<Utc>) -> i64 {
    at.timestamp().div_euclid(60)
}

/// Orders, and what they cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// How many.
    pub orders: i64,
    /// In cents.
    pub revenue_cents: i64,
}

impl Figures {
    /// One order.
    pub fn order(revenue_cents: i64) -> Self {
        Self { orders: 1, revenue_cents }
    }
}

impl std::ops::AddAssign for Figures {
    fn add_assign(&mut self, other: Self) {
        self.orders += other.orders;
        self.revenue_cents += other.revenue_cents;
    }
}

/// Whether an order has to be in the figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// Accepted, and it had its time.
    Must,
    /// Accepted, and it may still wait.
    Waits,
    /// Accepted, and its event was skipped.
    Skipped,
    /// Accepted only after the audit had begun.
    Late,
}

#[derive(Clone, Copy, Debug, Default)]
struct Bounds {
    least: Figures,
    most: Figures,
}

impl Bounds {
    fn add(&mut self, order: Figures, claim: Claim) {
        self.most += order;
        if claim == Claim::Must {
            self.least += order;
        }
    }
}

/// What the minutes are to hold.
#[derive(Debug)]
pub struct Minutes {
    stage: Stage,
    /// The minutes that are compared.
    range: RangeInclusive<i64>,
    minutes: BTreeMap<i64, Bounds>,
    total: Bounds,
}

impl Minutes {
    /// Compares the minutes of `range`; others are left alone.
    pub fn new(stage: Stage, range: RangeInclusive<i64>) -> Self {
        Self { stage, range, minutes: BTreeMap::new(), total: Bounds::default() }
    }

    /// An order whose event was decided in `minute`.
    pub fn order(&mut self, minute: i64, order: Figures, claim: Claim) {
        if self.range.contains(&minute) {
            self.minutes.entry(minute).or_default().add(order, claim);
            self.in_total(order, claim);
        }
    }

    /// An order whose event is out of sight. The database accepted it in `about`, so it was decided then or in a minute
    /// beside it: it may be in each of these three, and counts in the total.
    pub fn order_about(&mut self, about: i64, order: Figures, claim: Claim) {
        let near: Vec<i64> = (about.saturating_sub(1)..=about.saturating_add(1))
            .filter(|minute| self.range.contains(minute))
            .collect();
        for minute in &near {
            self.minutes.entry(*minute).or_default().most += order;
        }
        match near.len() {
            0 => {}
            // At the edge nobody knows on which side it is.
            1 | 2 => self.total.most += order,
            _ => self.in_total(order, claim),
        }
    }

    fn in_total(&mut self, order: Figures, claim: Claim) {
        self.total.add(order, claim);
        match claim {
            Claim::Must => {}
            Claim::Waits => self.stage.waiting += 1,
            Claim::Skipped => self.stage.skipped += 1,
            Claim::Late => return,
        }
        self.stage.checked += 1;
    }

    /// The row. `found` is what the database has counted.
    pub fn finish(mut self, found: &BTreeMap<i64, Figures>) -> Stage {
        let mut total = Figures::default();
        let (mut missing, mut doubled) = (0, 0);
        let counted = found.keys().filter(|minute| self.range.contains(minute));
        let minutes: BTreeSet<i64> = self.minutes.keys().chain(counted).copied().collect();
        for minute in minutes {
            let bounds = self.minutes.get(&minute).copied().unwrap_or_default();
            let have = found.get(&minute).copied().unwrap_or_default();
            total += have;
            let (few, many) = compare(&mut self.stage, &name(minute), bounds, have);
            missing += few;
            doubled += many;
        }
        // An order that a loose minute hides still shows in the total.
        let (few, many) = difference(self.total, total);
        if few > missing || many > doubled {
            let mut rest = self.total;
            // What the minutes have told already.
            rest.least.orders -= missing.cast_signed();
            rest.most.orders += doubled.cast_signed();
            compare(&mut self.stage, "all minutes together", rest, total);
        }
        self.clamp_excuses(total);
        self.stage
    }

    /// Sums do not tell whether an order that may wait is counted by now. No more of them wait than are short of the sum.
    fn clamp_excuses(&mut self, total: Figures) {
        let accepted = self.total.least.orders.cast_unsigned() + self.stage.waiting + self.stage.skipped;
        let short = accepted.saturating_sub(total.orders.max(0).cast_unsigned());
        self.stage.skipped = self.stage.skipped.min(short);
        self.stage.waiting = self.stage.waiting.min(short - self.stage.skipped);
    }
}

/// Enters what is too little or too much, and returns it.
fn compare(stage: &mut Stage, subject: &str, bounds: Bounds, have: Figures) -> (u64, u64) {
    let (missing, doubled) = difference(bounds, have);
    let detail = || {
        let (least, most) = (bounds.least, bounds.most);
        let expected = if least == most {
            format!("{} for {}", least.orders, least.revenue_cents)
        } else {
            format!(
                "{} to {} for {} to {}",
                least.orders, most.orders, least.revenue_cents, most.revenue_cents
            )
        };
        let text = format!("{} orders for {} cents, accepted {expected}", have.orders, have.revenue_cents);
        (subject.to_owned(), text)
    };
    stage.add(Kind::Missing, missing, detail);
    stage.add(Kind::Doubled, doubled, detail);
    (missing, doubled)
}

/// Orders below and above the bounds. The right number of orders with wrong revenue is one wrong order.
fn difference(bounds: Bounds, have: Figures) -> (u64, u64) {
    let missing = (bounds.least.orders - have.orders).max(0);
    let doubled = (have.orders - bounds.most.orders).max(0);
    if (missing, doubled) != (0, 0) {
        return (missing.cast_unsigned(), doubled.cast_unsigned());
    }
    let poor = have.revenue_cents < bounds.least.revenue_cents;
    let rich = have.revenue_cents > bounds.most.revenue_cents;
    (u64::from(poor), u64::from(rich))
}

fn name(minute: i64) -> String {
    let at = DateTime::from_timestamp(minute.saturating_mul(60), 0);
    at.map_or_else(|| format!("minute {minute}"), |at| format!("minute {}", at.format("%Y-%m-%dT%H:%MZ")))
}
