//! What became of the records of each key: how long they took, and whether they came in order.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use messaging::consumer::{Answer, Delivery, Handler};

use super::clock::Clock;
use super::ticket::Ticket;

/// One key. Pure: the times are the caller's.
#[derive(Clone, Debug, Default)]
pub(super) struct Track {
    /// When each record was done first, by its number.
    pub(super) finished: Vec<Instant>,
    /// Time in the handler, over all records.
    pub(super) work: Duration,
    pub(super) repeats: u64,
    busy: bool,
    fault: Option<String>,
}

impl Track {
    fn begin(&mut self, number: u32) {
        let next = self.finished.len();
        if self.busy {
            self.fault.get_or_insert(format!("number {number} came while another was worked on"));
        } else if number as usize > next {
            self.fault.get_or_insert(format!("number {number} came before number {next}"));
        }
        self.busy = true;
    }

    /// Whether it was the first time.
    fn end(&mut self, number: u32, began: Instant, now: Instant) -> bool {
        self.busy = false;
        self.work += now.duration_since(began);
        let first = number as usize == self.finished.len();
        if first {
            self.finished.push(now);
        } else {
            self.repeats += 1;
        }
        first
    }

    fn check(&self, expected: usize) -> anyhow::Result<()> {
        if let Some(fault) = &self.fault {
            bail!("{fault}");
        }
        ensure!(self.finished.len() == expected, "{} of {expected} records came", self.finished.len());
        Ok(())
    }
}

/// All keys. A lock for each, which only handlers of that key take: never two at a time.
pub(super) struct Journal {
    tracks: Vec<Mutex<Track>>,
    pub(super) clock: Clock,
}

impl Journal {
    pub(super) fn new(keys: usize, clock: Clock) -> Arc<Self> {
        Arc::new(Self { tracks: (0..keys).map(|_| Mutex::default()).collect(), clock })
    }

    fn track(&self, key: u32) -> Option<MutexGuard<'_, Track>> {
        self.tracks.get(key as usize).map(|track| track.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn begin(&self, ticket: Ticket) -> Instant {
        self.clock.start();
        if let Some(mut track) = self.track(ticket.key) {
            track.begin(ticket.number);
        }
        Instant::now()
    }

    fn end(&self, ticket: Ticket, began: Instant) {
        let now = Instant::now();
        let first = self.track(ticket.key).is_some_and(|mut track| track.end(ticket.number, began, now));
        if first {
            self.clock.done(1, now);
        }
    }

    fn each(&self) -> impl Iterator<Item = MutexGuard<'_, Track>> {
        self.tracks.iter().map(|track| track.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What is known so far.
    pub(super) fn tracks(&self) -> Vec<Track> {
        self.each().map(|track| track.clone()).collect()
    }

    /// Records that are done.
    pub(super) fn done(&self) -> usize {
        self.each().map(|track| track.finished.len()).sum()
    }

    /// Whether every key got on since then.
    pub(super) fn all_moved_since(&self, since: Instant) -> bool {
        self.each().all(|track| track.finished.last().is_some_and(|last| *last > since))
    }
}

/// How many records each key has if they are dealt out in turns.
pub(super) fn dealt(records: usize, keys: usize) -> impl Iterator<Item = usize> {
    (0..keys).map(move |key| records / keys + usize::from(key < records % keys))
}

/// Nothing was lost, and every key came in order, one record at a time.
///
/// # Errors
/// The first key of which that is not true.
pub(super) fn check(tracks: &[Track], expected: impl IntoIterator<Item = usize>) -> anyhow::Result<()> {
    for (key, (track, expected)) in tracks.iter().zip(expected).enumerate() {
        track.check(expected).map_err(|error| error.context(format!("key {key}")))?;
    }
    Ok(())
}

/// Nothing came twice, which it may only when members come and go.
///
/// # Errors
/// Something did.
pub(super) fn check_once(tracks: &[Track]) -> anyhow::Result<()> {
    let repeats: u64 = tracks.iter().map(|track| track.repeats).sum();
    ensure!(repeats == 0, "{repeats} records came twice");
    Ok(())
}

/// The handler: it sleeps as long as the ticket says, and writes that down.
pub(super) struct Worker {
    pub(super) journal: Arc<Journal>,
    /// Records that this one handled.
    pub(super) handled: Arc<AtomicU64>,
}

impl Handler for Worker {
    type Event = Ticket;

    async fn handle(&self, ticket: &Ticket, _: &Delivery) -> Answer {
        let began = self.journal.begin(*ticket);
        // The work, not a wait for something.
        tokio::time::sleep(ticket.work()).await;
        self.journal.end(*ticket, began);
        self.handled.fetch_add(1, Ordering::Relaxed);
        Answer::Ok
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handled(numbers: &[u32]) -> Track {
        let (mut track, began) = (Track::default(), Instant::now());
        for number in numbers {
            track.begin(*number);
            track.end(*number, began, began + Duration::from_millis(2));
        }
        track
    }

    #[test]
    fn a_key_that_came_in_order_and_whole_is_sound_and_its_work_adds_up() {
        let track = handled(&[0, 1, 2]);
        check(std::slice::from_ref(&track), [3]).unwrap();
        check_once(std::slice::from_ref(&track)).unwrap();
        assert_eq!(track.work, Duration::from_millis(6));
    }

    #[test]
    fn a_repeat_is_no_fault_of_the_order_and_is_counted() {
        let track = handled(&[0, 1, 0, 1, 2]);
        check(std::slice::from_ref(&track), [3]).unwrap();
        assert_eq!(track.repeats, 2);
        assert!(check_once(&[track]).is_err());
    }

    #[test]
    fn a_record_that_overtakes_another_is_a_fault_even_if_all_come_in_the_end() {
        let error = check(&[handled(&[0, 2, 1, 2])], [3]).unwrap_err();
        assert!(format!("{error:#}").contains("key 0: number 2 came before number 1"), "{error:#}");
    }

    #[test]
    fn a_record_that_does_not_come_is_a_fault() {
        let error = check(&[handled(&[0]), handled(&[0])], [1, 2]).unwrap_err();
        assert!(format!("{error:#}").contains("key 1: 1 of 2 records came"), "{error:#}");
    }

    #[test]
    fn two_records_of_a_key_at_a_time_are_a_fault() {
        let mut track = Track::default();
        track.begin(0);
        track.begin(1);
        assert!(track.check(0).is_err());
    }

    #[test]
    fn records_dealt_out_in_turns_leave_the_first_keys_one_more() {
        assert_eq!(dealt(10, 4).collect::<Vec<_>>(), [3, 3, 2, 2]);
    }
}
