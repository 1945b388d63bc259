//! Which dead letters were replayed, as the retry topic tells.

use std::collections::HashMap;

use messaging::dead_letters;
use messaging::reader::ReadRecord;

use crate::time::CLOCKS;

/// The newest replay of each place in a dead-letter topic: an entry of some bytes for each of them.
///
/// A place alone does not tell a letter: a broker that crashed may have lost the letter that was replayed, and given its place to another.
#[derive(Debug, Default)]
pub(crate) struct Replays(HashMap<(usize, i64), Option<i64>>);

impl Replays {
    /// Notes a record of the retry topic, if it replays a letter at a place that is `wanted`.
    pub(crate) fn note(&mut self, replay: &ReadRecord, wanted: impl Fn(usize, i64) -> bool) {
        if let Some((partition, offset)) = dead_letters::replayed(replay)
            && wanted(partition, offset)
        {
            let newest = self.0.entry((partition, offset)).or_default();
            *newest = replay.timestamp_ms.max(*newest);
        }
    }

    /// Whether the letter was replayed.
    pub(crate) fn has(&self, letter: &ReadRecord) -> bool {
        let replay = self.0.get(&(letter.partition, letter.offset));
        replay.is_some_and(|at| may_be_of(*at, letter.timestamp_ms))
    }
}

/// Whether a replay of that time may be one of a letter of this time: it is not older, as far as clocks can tell. Where the broker keeps no
/// time the place has to do.
pub(crate) fn may_be_of(replay: Option<i64>, letter: Option<i64>) -> bool {
    match (replay, letter) {
        (Some(replay), Some(letter)) => replay.saturating_add(CLOCKS.num_milliseconds()) >= letter,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use messaging::OutgoingRecord;
    use messaging::headers::dead_letter::LETTER;
    use messaging::reader::Has;

    use super::*;

    fn record(offset: i64, timestamp_ms: i64) -> ReadRecord {
        let (key, payload) = (Vec::new(), Vec::new());
        let (timestamp_ms, has) = (Some(timestamp_ms), Has { key: true, payload: true });
        ReadRecord { partition: 0, offset, timestamp_ms, key, payload, has, headers: None }
    }

    /// A replay of the letter at `0/offset`.
    fn replay(offset: i64, timestamp_ms: i64) -> ReadRecord {
        let sent = OutgoingRecord::new("retry", "key", "").header(LETTER, &format!("0/{offset}"));
        ReadRecord { headers: Some(sent.headers), ..record(0, timestamp_ms) }
    }

    #[test]
    fn a_letter_at_the_place_of_a_lost_one_that_was_replayed_counts_as_not_replayed() {
        let (noon, hour, second) = (1_800_000_000_000, 3_600_000, 1000);
        let mut replays = Replays::default();
        replays.note(&replay(7, noon), |_, _| true);
        replays.note(&replay(9, noon), |_, _| false);
        assert!(replays.has(&record(7, noon - hour)), "replayed after it was written");
        assert!(replays.has(&record(7, noon + second)), "by a clock that is a little behind");
        assert!(!replays.has(&record(7, noon + hour)), "written after the replay");
        assert!(!replays.has(&record(8, noon - hour)) && !replays.has(&record(9, noon - hour)));
        // In whatever order replays are read, the newest counts.
        replays.note(&replay(7, noon + 2 * hour), |_, _| true);
        replays.note(&replay(7, noon), |_, _| true);
        assert!(replays.has(&record(7, noon + hour)));
        assert!(may_be_of(None, Some(noon)) && may_be_of(Some(noon), None));
    }
}
