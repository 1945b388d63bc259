//! What is counted about one stage.

use serde::Serialize;

/// The columns of the audit. The first three are findings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Accepted, and the effect is not there though it had its time.
    Missing,
    /// The effect is there more often than once, or without an order.
    Doubled,
    /// The first occurrence of an event comes after the first occurrence of a later one of the same order.
    OutOfOrder,
    /// Sent again and recognised as a repeat: no second effect.
    Repeated,
    /// Not there yet, and we know where it waits.
    Waiting,
    /// An operator decided that it is not to be.
    Skipped,
}

/// One case of a column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Example {
    /// Which column.
    pub column: Kind,
    /// The order, product or minute concerned.
    pub subject: String,
    /// What is known about it.
    pub detail: String,
}

/// One row of the audit. The names of the fields are those of the JSON and stay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Stage {
    /// `published`, `email`, ..
    pub stage: &'static str,
    /// What one unit is: `events`, `orders`, `products`.
    pub of: &'static str,
    /// How many units should be there.
    pub checked: u64,
    /// See [`Kind::Missing`].
    pub missing: u64,
    /// See [`Kind::Doubled`].
    pub doubled: u64,
    /// See [`Kind::OutOfOrder`]; always 0 where order means nothing.
    pub out_of_order: u64,
    /// See [`Kind::Repeated`].
    pub repeated: u64,
    /// See [`Kind::Waiting`].
    pub waiting: u64,
    /// See [`Kind::Skipped`].
    pub skipped: u64,
    /// Cannot be checked any more: the topic's retention has removed the evidence.
    pub out_of_sight: u64,
    /// The first few cases of each column.
    pub examples: Vec<Example>,
    #[serde(skip)]
    examples_each: usize,
}

impl Stage {
    /// An empty row that keeps `examples` cases of each column.
    pub fn new(stage: &'static str, of: &'static str, examples: usize) -> Self {
        Self {
            stage,
            of,
            checked: 0,
            missing: 0,
            doubled: 0,
            out_of_order: 0,
            repeated: 0,
            waiting: 0,
            skipped: 0,
            out_of_sight: 0,
            examples: Vec::new(),
            examples_each: examples,
        }
    }

    /// Adds `count` cases to a column; `example` is asked only while there is room for one.
    pub fn add(&mut self, column: Kind, count: u64, example: impl FnOnce() -> (String, String)) {
        if count == 0 {
            return;
        }
        *self.column_mut(column) += count;
        if self.examples.iter().filter(|known| known.column == column).count() < self.examples_each {
            let (subject, detail) = example();
            self.examples.push(Example { column, subject, detail });
        }
    }

    /// The count of a column.
    pub fn column(&self, column: Kind) -> u64 {
        match column {
            Kind::Missing => self.missing,
            Kind::Doubled => self.doubled,
            Kind::OutOfOrder => self.out_of_order,
            Kind::Repeated => self.repeated,
            Kind::Waiting => self.waiting,
            Kind::Skipped => self.skipped,
        }
    }

    fn column_mut(&mut self, column: Kind) -> &mut u64 {
        match column {
            Kind::Missing => &mut self.missing,
            Kind::Doubled => &mut self.doubled,
            Kind::OutOfOrder => &mut self.out_of_order,
            Kind::Repeated => &mut self.repeated,
            Kind::Waiting => &mut self.waiting,
            Kind::Skipped => &mut self.skipped,
        }
    }

    /// How many findings there are: what makes the audit fail.
    pub fn findings(&self) -> u64 {
        self.missing + self.doubled + self.out_of_order
    }
}
