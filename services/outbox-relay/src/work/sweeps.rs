//! When to read which buckets from their beginning.

use std::collections::BTreeSet;
use std::time::Duration;

use persistence::outbox::BUCKETS;
use tokio::time::Instant;

/// A claim that takes longer swept too many buckets at once.
const LONG: Duration = Duration::from_millis(50);
/// Sweeping may take this part of the time.
const PART: u32 = 10;

/// Sweeps all buckets within `period`, in steps small enough not to hold other claims up; slower when dead rows make it costly.
#[derive(Debug)]
pub(super) struct Sweeps {
    period: Duration,
    next: Instant,
    /// Buckets in one step.
    width: usize,
    /// The first bucket of the next step, or one before it.
    from: i16,
}

impl Sweeps {
    pub(super) fn new(period: Duration, now: Instant) -> Self {
        // How much lies dead in the table is not known yet.
        Self { period, next: now, width: 1, from: 0 }
    }

    /// Which of the buckets held a claim at `now` is to read from their beginning.
    pub(super) fn due(&self, now: Instant, held: &BTreeSet<i16>) -> BTreeSet<i16> {
        if now < self.next {
            return BTreeSet::new();
        }
        held.range(self.from..).chain(held.range(..self.from)).take(self.width).copied().collect()
    }

    /// A claim that was asked for at `asked` has swept these buckets, of `held` ones.
    pub(super) fn done(&mut self, swept: &BTreeSet<i16>, held: usize, asked: Instant, now: Instant) {
        if swept.is_empty() {
            return;
        }
        let took = now - asked;
        let share = self.period.mul_f64(swept.len() as f64 / held.max(1) as f64);
        self.next = now + share.max(took * (PART - 1));
        self.width = if took > LONG { (self.width / 2).max(1) } else { (self.width * 2).min(BUCKETS) };
        // Steps go upwards and begin anew after the highest bucket.
        let last = swept.range(self.from..).next_back().or_else(|| swept.last());
        self.from = last.map_or(0, |last| last + 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Duration = Duration::from_secs(1);

    fn held() -> BTreeSet<i16> {
        (10..42).collect()
    }

    #[test]
    fn while_sweeping_is_cheap_one_claim_a_period_sweeps_everything() {
        let mut now = Instant::now();
        let mut sweeps = Sweeps::new(PERIOD, now);
        let mut first_period = BTreeSet::new();
        for step in 0..6 {
            let due = sweeps.due(now, &held());
            assert_eq!(due.len(), (1 << step).min(32), "at first with care");
            sweeps.done(&due, 32, now, now);
            now += PERIOD * u32::try_from(due.len()).unwrap() / 32;
            first_period.extend(due);
        }
        assert_eq!(first_period, held());
        assert_eq!(sweeps.due(now, &held()), held());
        sweeps.done(&held(), 32, now, now);
        assert!(sweeps.due(now + PERIOD / 2, &held()).is_empty());
        assert_eq!(sweeps.due(now + PERIOD, &held()), held());
    }

    #[test]
    fn when_it_is_costly_small_steps_come_round_to_every_bucket_within_a_tenth_of_the_time() {
        let mut now = Instant::now();
        let mut sweeps = Sweeps::new(PERIOD, now);
        let (mut seen, mut sweeping, begin) = (BTreeSet::new(), Duration::ZERO, now);
        for _ in 0..1000 {
            let swept = sweeps.due(now, &held());
            let took = LONG * u32::try_from(swept.len()).unwrap();
            if !swept.is_empty() && now - begin > PERIOD * 60 {
                assert!(swept.len() <= 2, "{swept:?}");
                seen.extend(swept.iter().copied());
            }
            sweeping += took;
            sweeps.done(&swept, 32, now, now + took);
            now += took + Duration::from_millis(200);
        }
        assert_eq!(seen, held());
        assert!(sweeping < (now - begin) / 5, "{sweeping:?} of {:?}", now - begin);
    }
}
