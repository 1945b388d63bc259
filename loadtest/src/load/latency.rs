//! Latencies: as many as come, in the memory of a few hundred kilobytes, each to within a thousandth of itself.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

/// The longest that is told from longer ones, in nanoseconds: more than any request may take.
const LONGEST: u64 = 600_000_000_000;
/// Decimal digits that are kept.
const DIGITS: u8 = 3;

/// All latencies of a kind.
#[derive(Clone, Debug)]
pub struct Latencies(Option<Histogram<u64>>);

/// What is said of them, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Summary {
    /// How many there were.
    pub count: u64,
    /// Half of them were this or less.
    pub p50_ms: f64,
    /// Nine of ten.
    pub p90_ms: f64,
    /// 19 of 20.
    pub p95_ms: f64,
    /// 99 of 100.
    pub p99_ms: f64,
    /// The longest.
    pub max_ms: f64,
}

impl Default for Latencies {
    fn default() -> Self {
        // The bounds are constants that a histogram takes.
        Self(Histogram::new_with_bounds(1, LONGEST, DIGITS).ok())
    }
}

impl Latencies {
    /// One more. What is longer than ten minutes counts as ten minutes.
    pub fn record(&mut self, latency: Duration) {
        if let Some(all) = &mut self.0 {
            let nanos = u64::try_from(latency.as_nanos()).unwrap_or(LONGEST);
            all.saturating_record(nanos.max(1));
        }
    }

    /// All those of another one.
    pub fn add(&mut self, more: &Self) {
        if let (Some(all), Some(more)) = (&mut self.0, &more.0) {
            // Both have the same bounds, so this cannot fail.
            all.add(more).ok();
        }
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.0.as_ref().map_or(0, Histogram::len)
    }

    /// The latency that this share of them (0 to 1) does not exceed; 0 if there are none.
    pub fn quantile(&self, share: f64) -> Duration {
        Duration::from_nanos(self.0.as_ref().map_or(0, |all| all.value_at_quantile(share)))
    }

    /// What is said of them.
    pub fn summary(&self) -> Summary {
        let millis = |share| self.quantile(share).as_secs_f64() * 1e3;
        Summary {
            count: self.count(),
            p50_ms: millis(0.5),
            p90_ms: millis(0.9),
            p95_ms: millis(0.95),
            p99_ms: millis(0.99),
            max_ms: millis(1.0),
        }
    }

    /// Begins anew.
    pub fn clear(&mut self) {
        if let Some(all) = &mut self.0 {
            all.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn without_a_latency_everything_is_zero() {
        assert_eq!(Latencies::default().summary(), Summary::default());
    }

    proptest! {
        #[test]
        fn a_percentile_is_the_exact_one_to_within_a_thousandth(
            mut nanos in prop::collection::vec(1..600_000_000_000_u64, 1..400), percent in 1..=100_u32,
        ) {
            let share = f64::from(percent) / 100.0;
            let mut latencies = Latencies::default();
            for nanos in &nanos {
                latencies.record(Duration::from_nanos(*nanos));
            }
            nanos.sort_unstable();
            // The least that so many do not exceed.
            let place = (share * nanos.len() as f64).ceil() as usize;
            let exact = nanos[place.max(1) - 1] as f64;
            let found = latencies.quantile(share).as_nanos() as f64;
            prop_assert!((found - exact).abs() <= exact / 1000.0 + 1.0, "{found} instead of {exact}");
        }

        #[test]
        fn what_is_added_up_counts_as_if_it_had_been_recorded_together(
            first in prop::collection::vec(1..10_000_000_u64, 0..50), second in prop::collection::vec(1..10_000_000_u64, 0..50),
        ) {
            let of = |nanos: &[u64]| {
                let mut latencies = Latencies::default();
                nanos.iter().for_each(|nanos| latencies.record(Duration::from_nanos(*nanos)));
                latencies
            };
            let mut sum = of(&first);
            sum.add(&of(&second));
            prop_assert_eq!(sum.summary(), of(&[first, second].concat()).summary());
        }
    }
}
