//! When requests are due in an open loop.

use std::time::Duration;

/// A time with one rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Phase {
    /// Requests per second, above zero.
    pub rate: f64,
    /// How long it lasts.
    pub length: Duration,
}

/// Phases one after the other, in each of which requests come at even distances.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule(Vec<Phase>);

impl Schedule {
    /// One rate all the time.
    pub fn constant(rate: f64, length: Duration) -> Self {
        Self(vec![Phase { rate, length }])
    }

    /// A third of the time at `rate`, a third at `times` as much, and a third at `rate` again.
    pub fn spike(rate: f64, times: f64, length: Duration) -> Self {
        let third = |rate| Phase { rate, length: length / 3 };
        Self(vec![third(rate), third(rate * times), third(rate)])
    }

    /// When each request is due, from the beginning.
    pub fn dues(&self) -> impl Iterator<Item = Duration> + use<> {
        let mut began = Duration::ZERO;
        self.0.clone().into_iter().flat_map(move |phase| {
            let start = began;
            began += phase.length;
            let count = (phase.length.as_secs_f64() * phase.rate).round() as u64;
            // Each from the start of its phase: a sum of distances would add up their errors.
            (0..count).map(move |number| start + Duration::from_secs_f64(number as f64 / phase.rate))
        })
    }

    /// How long all of it lasts.
    pub fn length(&self) -> Duration {
        self.0.iter().map(|phase| phase.length).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_come_at_even_distances_and_as_many_as_the_rate_says() {
        let dues: Vec<_> = Schedule::constant(4.0, Duration::from_secs(2)).dues().collect();
        let expected: Vec<_> = (0..8).map(|number| Duration::from_millis(number * 250)).collect();
        assert_eq!(dues, expected);
        assert_eq!(Schedule::constant(2000.0, Duration::from_secs(600)).dues().count(), 1_200_000);
    }

    #[test]
    fn a_spike_is_its_middle_third() {
        let schedule = Schedule::spike(10.0, 5.0, Duration::from_secs(30));
        let dues: Vec<_> = schedule.dues().collect();
        let within = |from, to| {
            let (from, to) = (Duration::from_secs(from), Duration::from_secs(to));
            dues.iter().filter(|due| (from..to).contains(due)).count()
        };
        assert_eq!((within(0, 10), within(10, 20), within(20, 30)), (100, 500, 100));
        assert_eq!((dues.len(), schedule.length()), (700, Duration::from_secs(30)));
        assert!(dues.is_sorted());
    }
}
