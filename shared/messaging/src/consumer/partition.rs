//! One assignment of one partition. No I/O.

use std::collections::VecDeque;
use std::sync::Arc;

use super::job::{Job, Record};
use super::keys::Keys;
use super::ledger::Ledger;

/// Created when the partition is assigned, gone when it is revoked. A new assignment of the same partition is a new value under a new
/// epoch: nothing of the old one can move its frontier.
#[derive(Debug)]
pub(super) struct Partition {
    pub(super) topic: Arc<str>,
    pub(super) number: i32,
    pub(super) ledger: Ledger,
    pub(super) keys: Keys<Job>,
    /// Records that the ledger has no room for yet, in order.
    pub(super) aside: VecDeque<Record>,
    /// Unfinished records in memory, and their bytes.
    pub(super) held: usize,
    pub(super) bytes: usize,
    /// Of the records, in the hands of workers.
    pub(super) running: usize,
    /// Records whose dead letters were not taken, and wait to be tried again.
    pub(super) unburied: usize,
    /// Fetching is paused.
    pub(super) paused: bool,
    /// Being given up: running jobs may finish, nothing else begins.
    pub(super) closing: bool,
    /// The offset that the broker was told last; at first the one that it sent first.
    pub(super) committed: Option<i64>,
}

/// Topic, partition and the offset to commit.
pub(super) type Position = (Arc<str>, i32, i64);

impl Partition {
    pub(super) fn new(topic: Arc<str>, number: i32, window: u32) -> Self {
        Self {
            topic,
            number,
            ledger: Ledger::new(window),
            keys: Keys::default(),
            aside: VecDeque::new(),
            held: 0,
            bytes: 0,
            running: 0,
            unburied: 0,
            paused: false,
            closing: false,
            committed: None,
        }
    }

    pub(super) fn is(&self, topic: &str, number: i32) -> bool {
        self.number == number && self.topic.as_ref() == topic
    }

    /// The frontier, if the broker was told another one last; or in any case.
    pub(super) fn position(&mut self, in_any_case: bool) -> Option<Position> {
        let frontier = self.ledger.frontier()?;
        if !in_any_case && self.committed == Some(frontier) {
            return None;
        }
        self.committed = Some(frontier);
        Some((self.topic.clone(), self.number, frontier))
    }
}
