//! The comparison itself: facts in, findings out. No I/O, no clock.
//!
//! Facts are fed in as they are read, so a million orders cost a few dozen bytes each and nothing else grows with them. Every
//! stage ends as a [`Stage`].

mod excuses;
mod minutes;
mod once;
mod orders;
mod published;
mod reserved;
mod stage;
mod sums;

pub use excuses::{Excuse, Excuses, Fate};
pub use minutes::{Claim, Figures, Minutes, UNKNOWN, minute_of};
pub use once::Once;
pub use orders::{Lines, Order, Orders};
pub use published::{Backlog, Event, Outcome, Published, Seen};
pub use reserved::Reserved;
pub use stage::{Example, Kind, Stage};
pub use sums::{ProductSums, Sale, Stock, sales, stock};

#[cfg(test)]
mod tests;
