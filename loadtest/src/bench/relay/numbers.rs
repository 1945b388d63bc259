//! Percentiles, medians and rates.

use std::time::Duration;

/// How far something had come, and when.
pub(super) type Sample = (Duration, u64);

/// Three percentiles, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::bench) struct Percentiles {
    pub(in crate::bench) p50: f64,
    pub(in crate::bench) p95: f64,
    pub(in crate::bench) p99: f64,
}

impl Percentiles {
    /// Of all `latencies`, by the nearest rank: each is one that occurred. `None` if there are none.
    pub(in crate::bench) fn of(mut latencies: Vec<Duration>) -> Option<Self> {
        latencies.sort_unstable();
        let at = |percent: usize| {
            let rank = (latencies.len() * percent).div_ceil(100).max(1);
            latencies.get(rank - 1).map(|latency| latency.as_secs_f64() * 1e3)
        };
        Some(Self { p50: at(50)?, p95: at(95)?, p99: at(99)? })
    }

    /// Each with its name.
    pub(in crate::bench) fn named(self) -> [(&'static str, f64); 3] {
        [("p50", self.p50), ("p95", self.p95), ("p99", self.p99)]
    }
}

/// The middle one; of an even number the mean of the two in the middle. `None` if there are none.
pub(in crate::bench) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    if values.len() % 2 == 1 {
        return Some(upper);
    }
    let lower = *values.get(values.len() / 2 - 1)?;
    Some(lower.midpoint(upper))
}

/// The rate, per second, of each full `chunk` of what `samples` counted. Between two samples it is taken to have been even.
pub(super) fn chunk_rates(samples: &[Sample], chunk: u64) -> Vec<f64> {
    let Some(&(first, _)) = samples.first() else { return Vec::new() };
    let (mut rates, mut began, mut end) = (Vec::new(), first.as_secs_f64(), chunk);
    for pair in samples.windows(2) {
        let [(from, before), (to, after)] = pair else { continue };
        let (from, to) = (from.as_secs_f64(), to.as_secs_f64());
        while end <= *after && before < after {
            let share = end.saturating_sub(*before) as f64 / (after - before) as f64;
            let crossed = from + (to - from) * share;
            rates.push(chunk as f64 / (crossed - began).max(1e-9));
            (began, end) = (crossed, end + chunk);
        }
    }
    rates
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(values: impl IntoIterator<Item = u64>) -> Vec<Duration> {
        values.into_iter().map(Duration::from_millis).collect()
    }

    #[test]
    fn a_percentile_is_the_value_that_so_many_do_not_exceed() {
        let found = Percentiles::of(millis((1..=200).rev())).unwrap();
        assert_eq!(found, Percentiles { p50: 100.0, p95: 190.0, p99: 198.0 });
        let one = Percentiles::of(millis([7])).unwrap();
        assert_eq!(one, Percentiles { p50: 7.0, p95: 7.0, p99: 7.0 });
        assert_eq!(Percentiles::of(Vec::new()), None);
    }

    #[test]
    fn the_median_is_in_the_middle_whatever_the_order() {
        assert_eq!(median(vec![9.0, 1.0, 4.0]), Some(4.0));
        assert_eq!(median(vec![9.0, 1.0, 4.0, 6.0]), Some(5.0));
        assert_eq!(median(Vec::new()), None);
    }

    #[test]
    fn chunks_have_their_own_rates_wherever_the_samples_fall() {
        let samples: Vec<Sample> = [(0, 0), (1000, 150), (2000, 300), (4000, 400)]
            .map(|(ms, n)| (Duration::from_millis(ms), n))
            .to_vec();
        let rates = chunk_rates(&samples, 100);
        let expected = [150.0, 150.0, 150.0, 50.0];
        assert_eq!(rates.len(), expected.len());
        for (rate, expected) in rates.iter().zip(expected) {
            assert!((rate - expected).abs() < 1e-6, "{rates:?}");
        }
    }

    #[test]
    fn a_chunk_that_was_not_finished_and_a_standstill_have_no_rate() {
        let samples: Vec<Sample> = [(0, 0), (500, 0), (1000, 100), (2000, 100), (3000, 150)]
            .map(|(ms, n)| (Duration::from_millis(ms), n))
            .to_vec();
        assert_eq!(chunk_rates(&samples, 100).len(), 1);
        assert_eq!(chunk_rates(&[], 100), Vec::<f64>::new());
    }
}
