//! What a run sends, in which order, and what it leaves where it is. No I/O.
//!
//! - The letters of one key go in the order in which their records stood on the source topic, whatever their order in the dead letters.
//! - Of several letters about one record only the last one counts, whether the filters let it pass or not: it knows how often the record was replayed.
//! - A held key goes whole or not at all: its letters are the only records of the key that its group has left, in an order that counts.
//! - What may be applied twice goes only if it passes the filters itself: nobody has looked at what goes along with its key.

mod batches;
mod selection;
#[cfg(test)]
mod tests;

pub(super) use batches::{fetched_together, sent_together};
pub(super) use selection::{Candidate, Left, Rules, Selection, Selector};
