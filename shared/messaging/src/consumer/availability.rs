//! Whether what the handler depends on is there. No I/O; the clock is the caller's.
//!
//! One state for the whole consumer: when a dependency is away, every record would fail alike. Nothing new is handed to the
//! handler then except one probe at a time, further and further apart. The first definite answer opens the gate again, but
//! only as far as answers keep coming, so that a dependency that just got up is not run over.

use std::time::Instant;

use crate::settings::RetrySettings;

/// So many transient failures in a row, over all messages and without a definite answer in between, mean that the dependency is
/// away. One less than this would still let a single message fail for itself.
const UNAVAILABLE_AFTER: u32 = 5;

/// One run of the handler.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pass {
    outages: u64,
    probe: bool,
}

#[derive(Debug)]
enum State {
    There,
    Away {
        probes: u32,
        next_probe: Instant,
        probing: bool,
    },
    /// So many runs at a time, one more for each definite answer.
    Returning {
        probes: u32,
        allowed: usize,
    },
}

#[derive(Debug)]
pub(super) struct Availability {
    state: State,
    retry: RetrySettings,
    /// The most runs at a time.
    limit: usize,
    /// Outages begun. A run that began before the latest one tells nothing new by failing.
    outages: u64,
    failures_in_a_row: u32,
}

impl Availability {
    pub(super) fn new(retry: RetrySettings, limit: usize) -> Self {
        Self { state: State::There, retry, limit, outages: 0, failures_in_a_row: 0 }
    }

    /// A pass for one more run, if there may be one beside the `running` others.
    pub(super) fn start(&mut self, running: usize, now: Instant) -> Option<Pass> {
        let allowed = match &mut self.state {
            State::There => self.limit,
            State::Returning { allowed, .. } => *allowed,
            State::Away { next_probe, probing, .. } => {
                if *probing || now < *next_probe {
                    return None;
                }
                *probing = true;
                return Some(Pass { outages: self.outages, probe: true });
            }
        };
        (running < allowed).then_some(Pass { outages: self.outages, probe: false })
    }

    /// The dependency answered, whatever it said; `running` others are still at it.
    pub(super) fn definite(&mut self, running: usize) {
        self.failures_in_a_row = 0;
        let (probes, allowed) = match self.state {
            State::There => return,
            State::Away { probes, .. } => (probes, running.saturating_add(2)),
            State::Returning { probes, allowed } => (probes, allowed.saturating_add(1)),
        };
        self.state = if allowed >= self.limit { State::There } else { State::Returning { probes, allowed } };
    }

    /// A transient failure. `true`: it is the message's own and counts as an attempt.
    pub(super) fn transient(&mut self, pass: Pass, now: Instant) -> bool {
        if self.is_old(pass) {
            return false;
        }
        if !matches!(self.state, State::Away { .. }) {
            self.failures_in_a_row += 1;
            if self.failures_in_a_row < UNAVAILABLE_AFTER {
                return true;
            }
        }
        self.unavailable(pass, now);
        false
    }

    /// The dependency is away.
    pub(super) fn unavailable(&mut self, pass: Pass, now: Instant) {
        if self.is_old(pass) {
            return;
        }
        let probes = match self.state {
            State::There => 1,
            State::Away { probes, .. } => {
                if !pass.probe {
                    return;
                }
                probes.saturating_add(1)
            }
            State::Returning { probes, .. } => probes.saturating_add(1),
        };
        if !pass.probe {
            self.outages += 1;
        }
        self.failures_in_a_row = 0;
        let next_probe = now + self.retry.wait_after(probes);
        self.state = State::Away { probes, next_probe, probing: false };
    }

    /// The run ended without an answer: cut off, or there was nothing to ask.
    pub(super) fn silent(&mut self, pass: Pass) {
        if let State::Away { probing, .. } = &mut self.state
            && pass.probe
            && pass.outages == self.outages
        {
            *probing = false;
        }
    }

    /// Probes so far, while the dependency is away.
    pub(super) fn away(&self) -> Option<u32> {
        match self.state {
            State::Away { probes, .. } => Some(probes),
            State::There | State::Returning { .. } => None,
        }
    }

    fn is_old(&self, pass: Pass) -> bool {
        pass.outages != self.outages
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const LIMIT: usize = 200;

    fn availability() -> Availability {
        let retry = RetrySettings {
            retry_max_attempts: 5,
            retry_base: Duration::from_secs(1),
            retry_cap: Duration::from_secs(8),
        };
        Availability::new(retry, LIMIT)
    }

    fn passes(availability: &mut Availability, now: Instant) -> Vec<Pass> {
        let mut passes = Vec::new();
        while let Some(pass) = availability.start(passes.len(), now) {
            passes.push(pass);
        }
        passes
    }

    /// Whether the next probe is so many seconds away; jitter takes up to a quarter off.
    fn waits(availability: &Availability, now: Instant, seconds: u64) -> bool {
        let full = Duration::from_secs(seconds);
        match availability.state {
            State::Away { next_probe, .. } => (full * 3 / 4..=full).contains(&(next_probe - now)),
            _ => false,
        }
    }

    #[test]
    fn two_hundred_failures_at_once_are_one_outage_and_use_up_four_attempts_at_most() {
        let (mut availability, now) = (availability(), Instant::now());
        let running = passes(&mut availability, now);
        assert_eq!(running.len(), LIMIT);
        let counted = running.iter().filter(|pass| availability.transient(**pass, now)).count();
        assert_eq!((counted, availability.away()), (4, Some(1)));
        assert!(waits(&availability, now, 1), "the backoff starts at its base");
    }

    #[test]
    fn while_it_is_away_one_probe_at_a_time_goes_through_further_and_further_apart() {
        let (mut availability, mut now) = (availability(), Instant::now());
        let pass = availability.start(0, now).unwrap();
        availability.unavailable(pass, now);
        for expected in [1, 2, 4, 8, 8] {
            assert!(waits(&availability, now, expected), "{expected} s: {availability:?}");
            assert!(availability.start(0, now).is_none(), "not before its time");
            now += Duration::from_secs(expected);
            let probe = availability.start(0, now).unwrap();
            assert!(availability.start(1, now).is_none(), "one at a time");
            assert!(!availability.transient(probe, now), "a probe uses up no attempt");
        }
    }

    #[test]
    fn after_a_successful_probe_the_gate_opens_as_far_as_answers_come() {
        let (mut availability, mut now) = (availability(), Instant::now());
        let pass = availability.start(0, now).unwrap();
        availability.unavailable(pass, now);
        now += Duration::from_secs(1);
        availability.start(0, now).unwrap();
        availability.definite(0);
        let mut rounds = 0;
        loop {
            let running = passes(&mut availability, now).len();
            if running == LIMIT {
                break;
            }
            (0..running).for_each(|_| availability.definite(0));
            rounds += 1;
        }
        assert!((5..=8).contains(&rounds), "doubling from 2 to 200 took {rounds} rounds");
    }

    #[test]
    fn a_relapse_goes_on_with_the_backoff_and_late_failures_of_the_first_outage_change_nothing() {
        let (mut availability, mut now) = (availability(), Instant::now());
        let late = passes(&mut availability, now);
        availability.unavailable(late[0], now);
        now += Duration::from_secs(1);
        availability.start(0, now).unwrap();
        availability.definite(0);
        assert!(!availability.transient(late[1], now) && availability.away().is_none());
        availability.unavailable(late[2], now);
        assert!(availability.away().is_none(), "it began before the outage");

        let fresh = availability.start(0, now).unwrap();
        availability.unavailable(fresh, now);
        assert_eq!(availability.away(), Some(2));
    }

    #[test]
    fn one_failure_among_many_successes_slows_nothing_down() {
        let (mut availability, now) = (availability(), Instant::now());
        let running = passes(&mut availability, now);
        availability.unavailable(running[0], now);
        availability.definite(LIMIT - 2);
        assert!(matches!(availability.state, State::There));
    }

    #[test]
    fn a_probe_that_is_cut_off_makes_way_for_another() {
        let (mut availability, mut now) = (availability(), Instant::now());
        let pass = availability.start(0, now).unwrap();
        availability.unavailable(pass, now);
        now += Duration::from_secs(1);
        let probe = availability.start(0, now).unwrap();
        availability.silent(probe);
        assert!(availability.start(0, now).is_some());
    }

    #[test]
    fn failures_count_for_their_messages_as_long_as_others_are_answered() {
        let (mut availability, now) = (availability(), Instant::now());
        for _ in 0..100 {
            let pass = availability.start(0, now).unwrap();
            assert!(availability.transient(pass, now));
            availability.definite(0);
        }
    }
}
