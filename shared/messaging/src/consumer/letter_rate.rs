//! How many dead letters a minute are let through. No I/O.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

const MINUTE: Duration = Duration::from_secs(60);

/// At most `limit` in any minute.
#[derive(Debug)]
pub(super) struct LetterRate {
    limit: usize,
    recent: VecDeque<Instant>,
}

impl LetterRate {
    pub(super) fn new(limit: u32) -> Self {
        Self { limit: limit as usize, recent: VecDeque::new() }
    }

    /// Whether one more may be written.
    pub(super) fn admits(&mut self, now: Instant) -> bool {
        while self.recent.pop_front_if(|then| now.saturating_duration_since(*then) >= MINUTE).is_some() {}
        let admitted = self.recent.len() < self.limit;
        if admitted {
            self.recent.push_back(now);
        }
        admitted
    }

    /// An operator has looked: the minute starts anew.
    pub(super) fn forget(&mut self) {
        self.recent.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_minute_has_more_than_the_limit() {
        let (start, mut rate) = (Instant::now(), LetterRate::new(3));
        let at = |seconds| start + Duration::from_secs(seconds);
        assert!(rate.admits(at(0)) && rate.admits(at(20)) && rate.admits(at(40)));
        assert!(!rate.admits(at(59)));
        assert!(rate.admits(at(60)), "the first is a minute old");
        assert!(!rate.admits(at(61)));
        rate.forget();
        assert!(rate.admits(at(62)));
    }
}
