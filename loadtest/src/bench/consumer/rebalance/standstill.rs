//! How long keys stood still. Pure.

use std::ops::Range;
use std::time::{Duration, Instant};

/// A key stood still until `ended`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Standstill {
    pub(super) ended: Instant,
    pub(super) length: Duration,
}

/// Of one key, by the numbers of its records: from when each was on the topic and nothing before it was left to do, until it was done.
pub(super) fn standstills(on_topic: &[Instant], finished: &[Instant]) -> Vec<Standstill> {
    let before = std::iter::once(None).chain(finished.iter().map(Some));
    on_topic
        .iter()
        .zip(finished)
        .zip(before)
        .map(|((on_topic, finished), before)| {
            let since = before.map_or(*on_topic, |before| *before.max(on_topic));
            // A record may be done before its producer has heard that it is on the topic.
            Standstill { ended: *finished, length: finished.saturating_duration_since(since) }
        })
        .collect()
}

/// The longest one that ended in this time.
pub(super) fn longest(standstills: &[Standstill], during: &Range<Instant>) -> Duration {
    standstills
        .iter()
        .filter(|standstill| during.contains(&standstill.ended))
        .map(|standstill| standstill.length)
        .max()
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(from: Instant, millis: &[u64]) -> Vec<Instant> {
        millis.iter().map(|millis| from + Duration::from_millis(*millis)).collect()
    }

    fn lengths(on_topic: &[u64], finished: &[u64]) -> Vec<u64> {
        let zero = Instant::now();
        standstills(&times(zero, on_topic), &times(zero, finished))
            .iter()
            .map(|standstill| u64::try_from(standstill.length.as_millis()).unwrap())
            .collect()
    }

    #[test]
    fn a_key_without_a_record_does_not_stand_still() {
        assert_eq!(lengths(&[0, 1_000], &[2, 1_003]), [2, 3]);
    }

    #[test]
    fn records_that_queue_stand_still_only_until_the_one_before_them_is_done() {
        assert_eq!(lengths(&[0, 10, 20], &[500, 502, 504]), [500, 2, 2]);
    }

    #[test]
    fn a_record_that_is_done_before_its_producer_knows_did_not_wait() {
        assert_eq!(lengths(&[5], &[3]), [0]);
    }

    #[test]
    fn a_standstill_belongs_to_the_time_in_which_it_ended() {
        let zero = Instant::now();
        let at = |millis| zero + Duration::from_millis(millis);
        let all = standstills(&times(zero, &[0, 100, 400]), &times(zero, &[90, 350, 401]));
        assert_eq!(longest(&all, &(at(0)..at(300))), Duration::from_millis(90));
        assert_eq!(longest(&all, &(at(300)..at(500))), Duration::from_millis(250));
        assert_eq!(longest(&all, &(at(500)..at(600))), Duration::ZERO);
    }
}
