//! How far a partition has come: which offsets are in flight, and up to where all are finished. No I/O.

use std::collections::VecDeque;

/// The record cannot be taken up yet: it lies beyond the window, or before records already taken up (its log was
/// recreated). Either way it can once nothing is in flight.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NotYet;

/// Offsets come in ascending order and may have gaps, which compaction and transaction markers leave.
///
/// Every offset from the oldest record in flight up to the newest costs one bit, finished or not; `window` bounds how many.
#[derive(Debug)]
pub(super) struct Ledger {
    /// Set while in flight. The first word always has a bit set, unless nothing is in flight.
    words: VecDeque<u64>,
    /// Offset of the first bit; a multiple of 64.
    base: i64,
    /// Offset after the newest record taken up.
    next: Option<i64>,
    in_flight: usize,
    window: i64,
}

impl Ledger {
    /// Room for `window` offsets between the oldest record in flight and the newest.
    pub(super) fn new(window: u32) -> Self {
        Self { words: VecDeque::new(), base: 0, next: None, in_flight: 0, window: i64::from(window.max(1)) }
    }

    /// Takes a record up: until it is finished, nothing from it on may be committed.
    pub(super) fn begin(&mut self, offset: i64) -> Result<(), NotYet> {
        if self.in_flight == 0 {
            self.words.clear();
            self.base = aligned(offset);
        } else if self.next.is_some_and(|next| offset < next)
            || self.frontier().is_some_and(|frontier| offset.saturating_sub(frontier) >= self.window)
        {
            return Err(NotYet);
        }
        let (word, bit) = self.place(offset);
        if self.words.len() <= word {
            self.words.resize(word + 1, 0);
        }
        if let Some(word) = self.words.get_mut(word) {
            *word |= bit;
        }
        self.in_flight += 1;
        self.next = Some(offset + 1);
        Ok(())
    }

    /// The record needs nothing more. `false`: it was not in flight.
    pub(super) fn finish(&mut self, offset: i64) -> bool {
        if offset < self.base {
            return false;
        }
        let (word, bit) = self.place(offset);
        match self.words.get_mut(word) {
            Some(word) if *word & bit != 0 => *word &= !bit,
            _ => return false,
        }
        self.in_flight -= 1;
        while self.words.front() == Some(&0) {
            self.words.pop_front();
            self.base += 64;
        }
        true
    }

    /// The offset to commit: every record before it is finished. `None` before the first record.
    pub(super) fn frontier(&self) -> Option<i64> {
        let next = self.next?;
        Some(self.words.front().map_or(next, |word| self.base + i64::from(word.trailing_zeros())))
    }

    fn place(&self, offset: i64) -> (usize, u64) {
        let distance = offset - self.base;
        (usize::try_from(distance / 64).unwrap_or_default(), 1 << (distance % 64))
    }
}

fn aligned(offset: i64) -> i64 {
    offset - offset.rem_euclid(64)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// What the ledger has to be equal to, in as few words as possible.
    #[derive(Default)]
    struct Model {
        open: BTreeSet<i64>,
        next: Option<i64>,
    }

    impl Model {
        fn frontier(&self) -> Option<i64> {
            self.open.first().copied().or(self.next)
        }

        fn begin(&mut self, offset: i64, window: i64) -> bool {
            let fits = self.open.first().is_none_or(|oldest| offset - oldest < window);
            let forward = self.next.is_none_or(|next| offset >= next);
            let taken = self.open.is_empty() || (fits && forward);
            if taken {
                self.open.insert(offset);
                self.next = Some(offset + 1);
            }
            taken
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        /// The next record, after a gap of so many offsets.
        Begin(i64),
        /// Finishes one of the records in flight.
        Finish(prop::sample::Index),
        /// An offset that may or may not be in flight.
        FinishAny(i64),
        /// The log was recreated: a record before the others.
        Back(i64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let gap = prop_oneof![8 => Just(0i64), 3 => 1..5i64, 1 => 50..400i64, 1 => Just(1 << 40)];
        let step = prop_oneof![
            5 => gap.prop_map(Step::Begin),
            5 => any::<prop::sample::Index>().prop_map(Step::Finish),
            1 => (0..2000i64).prop_map(Step::FinishAny),
            1 => (0..50i64).prop_map(Step::Back),
        ];
        proptest::collection::vec(step, 1..300)
    }

    proptest! {
        #[test]
        fn the_ledger_agrees_with_a_plain_set_at_every_step(
            steps in steps(), window in 1..300u32, start in 0..1000i64,
        ) {
            let (mut ledger, mut model) = (Ledger::new(window), Model::default());
            for step in steps {
                match step {
                    Step::Begin(gap) => {
                        let offset = model.next.unwrap_or(start) + gap;
                        prop_assert_eq!(ledger.begin(offset).is_ok(), model.begin(offset, window.into()));
                    }
                    Step::Back(offset) => {
                        prop_assert_eq!(ledger.begin(offset).is_ok(), model.begin(offset, window.into()));
                    }
                    Step::Finish(index) if !model.open.is_empty() => {
                        let offset = *model.open.iter().nth(index.index(model.open.len())).unwrap();
                        model.open.remove(&offset);
                        prop_assert!(ledger.finish(offset));
                    }
                    Step::Finish(_) => {}
                    Step::FinishAny(offset) => {
                        prop_assert_eq!(ledger.finish(offset), model.open.remove(&offset));
                    }
                }
                prop_assert_eq!(ledger.frontier(), model.frontier());
                prop_assert_eq!(ledger.in_flight, model.open.len());
                let words = (window as usize).div_ceil(64) + 1;
                prop_assert!(ledger.words.len() <= words, "{} words", ledger.words.len());
            }
        }
    }

    #[test]
    fn finished_records_behind_an_unfinished_one_cost_a_bit_each() {
        let mut ledger = Ledger::new(1 << 18);
        for offset in 0..1 << 18 {
            ledger.begin(offset).unwrap();
            if offset > 0 {
                ledger.finish(offset);
            }
        }
        assert_eq!(ledger.words.len() * 8, 32 * 1024, "bytes");
        assert_eq!((ledger.frontier(), ledger.begin(1 << 18)), (Some(0), Err(NotYet)), "it is full");
        ledger.finish(0);
        assert_eq!((ledger.frontier(), ledger.words.len()), (Some(1 << 18), 0));
    }
}
