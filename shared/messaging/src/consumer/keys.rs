//! Records of one key wait for each other, those of different keys do not. No I/O.

use std::collections::VecDeque;
use std::collections::hash_map::{Entry, HashMap};
use std::hash::{BuildHasher, RandomState};

/// Stands for a key. Two keys that share a number only wait for each other.
pub(super) type Lane = u64;

/// Gives keys their lanes; the same in one process.
#[derive(Clone, Debug, Default)]
pub(super) struct Lanes(RandomState);

impl Lanes {
    /// `None` for a record without a key, which waits for nobody.
    pub(super) fn of(&self, key: &[u8]) -> Option<Lane> {
        (!key.is_empty()).then(|| self.0.hash_one(key))
    }
}

/// Who waits for whom. A lane is held by one item, the one that was let through; the others queue behind it.
#[derive(Debug)]
pub(super) struct Keys<T> {
    held: HashMap<Lane, VecDeque<T>>,
}

impl<T> Default for Keys<T> {
    fn default() -> Self {
        Self { held: HashMap::new() }
    }
}

impl<T> Keys<T> {
    /// Lets the item through, which then holds its lane, or queues it.
    pub(super) fn enter(&mut self, lane: Option<Lane>, item: T) -> Option<T> {
        let Some(lane) = lane else { return Some(item) };
        match self.held.entry(lane) {
            Entry::Occupied(mut waiting) => {
                waiting.get_mut().push_back(item);
                None
            }
            Entry::Vacant(free) => {
                free.insert(VecDeque::new());
                Some(item)
            }
        }
    }

    /// The next in the queue, for company: the lane stays with its holder.
    pub(super) fn follow(&mut self, lane: Option<Lane>, wanted: impl Fn(&T) -> bool) -> Option<T> {
        self.held.get_mut(&lane?)?.pop_front_if(|item| wanted(item))
    }

    /// Back to the head of the queue.
    pub(super) fn put_back(&mut self, lane: Option<Lane>, item: T) {
        if let Some(lane) = lane {
            self.held.entry(lane).or_default().push_front(item);
        }
    }

    /// The holder is done with: the lane goes to the next in the queue, or is free.
    pub(super) fn pass_on(&mut self, lane: Option<Lane>) -> Option<T> {
        let lane = lane?;
        let next = self.held.get_mut(&lane)?.pop_front();
        if next.is_none() {
            self.held.remove(&lane);
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_of_a_lane_pass_one_at_a_time_in_order_and_others_at_once() {
        let mut keys = Keys::default();
        assert_eq!(keys.enter(Some(1), "a1"), Some("a1"));
        assert_eq!(keys.enter(Some(1), "a2"), None);
        assert_eq!(keys.enter(Some(2), "b1"), Some("b1"));
        assert_eq!(keys.enter(Some(1), "a3"), None);
        assert_eq!(keys.pass_on(Some(1)), Some("a2"));
        assert_eq!(keys.pass_on(Some(2)), None);
        assert_eq!(keys.pass_on(Some(1)), Some("a3"));
        assert_eq!(keys.pass_on(Some(1)), None);
        assert!(keys.held.is_empty(), "a free lane costs nothing");
        assert_eq!(keys.enter(Some(1), "a4"), Some("a4"));
    }

    #[test]
    fn records_without_a_key_wait_for_nobody() {
        let lanes = Lanes::default();
        assert_eq!(lanes.of(b""), None);
        assert_eq!(lanes.of(b"a"), lanes.of(b"a"));
        let mut keys = Keys::default();
        assert_eq!((keys.enter(None, 1), keys.enter(None, 2)), (Some(1), Some(2)));
        assert_eq!(keys.pass_on(None), None);
    }

    #[test]
    fn what_is_put_back_comes_before_what_was_queued() {
        let mut keys = Keys::default();
        for item in [1, 2, 3] {
            keys.enter(Some(7), item);
        }
        assert_eq!(keys.follow(Some(7), |_| true), Some(2));
        assert_eq!(keys.follow(Some(7), |item| *item > 3), None);
        keys.put_back(Some(7), 2);
        assert_eq!(keys.pass_on(Some(7)), Some(2));
        assert_eq!(keys.pass_on(Some(7)), Some(3));
    }
}
