//! The relay's and the broker's part: claim, send, be acknowledged or not, settle.

use crate::protocol::{Action, Mistake, Protocol};
use crate::state::{Delivery, Event, KEYS, Lease, Relay, Row, Sent, State};

impl Protocol {
    pub(crate) fn steps_of_relay(&self, state: &State, relay: usize, steps: &mut Vec<Action>) {
        let Relay { lease, batch } = &state.relays[relay];
        if *lease == Lease::None {
            let held = state.relays.iter().any(|other| other.lease == Lease::Held);
            if !held || self.makes(Mistake::SkipLockedWithoutLeases) {
                steps.push(Action::TakeLease { relay });
            }
        } else if batch.is_empty() {
            if !self.claimable(state, relay).is_empty() {
                steps.push(Action::Claim { relay });
            }
            if *lease == Lease::Outdated {
                steps.push(Action::LoseLease { relay });
            }
        } else {
            let in_flight = batch.iter().filter(|sent| sent.delivery == Delivery::InFlight);
            steps.extend(in_flight.clone().map(|sent| Action::Write { relay, event: sent.event }));
            if in_flight.count() == 0 {
                steps.push(Action::Settle { relay });
            }
        }
    }

    /// The oldest row of each key, among those that a claim sees. Sorted.
    fn claimable(&self, state: &State, relay: usize) -> Vec<Event> {
        let locked = |event: Event| {
            let others = state.relays.iter().enumerate().filter(|(other, _)| *other != relay);
            others.flat_map(|(_, other)| &other.batch).any(|sent| sent.event == event)
        };
        let mut claimed: Vec<Event> = Vec::with_capacity(KEYS);
        for event in state.outbox.iter().filter(|row| !row.behind_cursor).filter_map(Row::event) {
            if self.makes(Mistake::SkipLockedWithoutLeases) && locked(event) {
                continue;
            }
            if self.makes(Mistake::TwoRowsOfAKeyInFlight)
                || claimed.iter().all(|earlier| earlier.key != event.key)
            {
                claimed.push(event);
            }
        }
        claimed.sort_unstable();
        claimed
    }

    /// Claims and enqueues. A relay that is frozen between the two is one whose records the broker is late to write.
    pub(crate) fn claim(&self, state: &mut State, relay: usize) {
        let claimed = self.claimable(state, relay);
        state.relays[relay].batch =
            claimed.into_iter().map(|event| Sent { event, delivery: Delivery::InFlight }).collect();
    }

    /// Deletes acknowledged rows, if the lease is still the newest. A relay that finds it is not stands by.
    pub(crate) fn settle(&self, state: &mut State, relay: usize) {
        let batch = std::mem::take(&mut state.relays[relay].batch);
        let done = |event: Event| {
            batch.iter().any(|sent| {
                let acknowledged = sent.delivery == Delivery::Acknowledged;
                sent.event == event && (acknowledged || self.makes(Mistake::SettleWhatWasClaimed))
            })
        };
        if self.epoch_check
            && state.relays[relay].lease == Lease::Outdated
            && batch.iter().any(|sent| done(sent.event))
        {
            state.relays[relay].lease = Lease::None;
            return;
        }
        if self.makes(Mistake::ClaimByCursor) {
            let newest = state.outbox.iter().rposition(|row| row.event().is_some_and(done));
            state
                .outbox
                .iter_mut()
                .take(newest.map_or(0, |place| place + 1))
                .for_each(|row| row.behind_cursor = true);
        }
        state.outbox.retain(|row| !row.event().is_some_and(done));
    }
}

/// What the network may do with records that nobody waits for.
pub(crate) fn steps_of_strays(state: &State, steps: &mut Vec<Action>) {
    let mut strays = state.strays.clone();
    strays.dedup();
    for event in strays {
        steps.push(Action::WriteStray { event });
        steps.push(Action::DropStray { event });
    }
}

/// What may go wrong with a relay or its records.
pub(crate) fn faults(state: &State, faults: &mut Vec<Action>) {
    let held = state.relays.iter().any(|relay| relay.lease == Lease::Held);
    for (relay, memory) in state.relays.iter().enumerate() {
        if memory.lease != Lease::None {
            faults.push(Action::RelayCrashes { relay });
        } else if held {
            faults.push(Action::TakeOver { relay });
        }
        let in_flight = memory.batch.iter().filter(|sent| sent.delivery == Delivery::InFlight);
        faults.extend(in_flight.map(|sent| Action::TimeOut { relay, event: sent.event }));
    }
}

pub(crate) fn write(state: &mut State, relay: usize, event: Event) {
    state.topic.push(event);
    report(state, relay, event, Delivery::Acknowledged);
}

pub(crate) fn time_out(state: &mut State, relay: usize, event: Event) {
    state.faults -= 1;
    state.add_stray(event);
    report(state, relay, event, Delivery::TimedOut);
}

fn report(state: &mut State, relay: usize, event: Event, delivery: Delivery) {
    let batch = &mut state.relays[relay].batch;
    batch.iter_mut().filter(|sent| sent.event == event).for_each(|sent| sent.delivery = delivery);
}

pub(crate) fn crash(state: &mut State, relay: usize) {
    state.faults -= 1;
    for sent in std::mem::take(&mut state.relays[relay]).batch {
        if sent.delivery == Delivery::InFlight {
            state.add_stray(sent.event);
        }
    }
}

pub(crate) fn take_over(state: &mut State, relay: usize) {
    state.faults -= 1;
    for other in state.relays.iter_mut().filter(|other| other.lease == Lease::Held) {
        other.lease = Lease::Outdated;
    }
    state.relays[relay].lease = Lease::Held;
}
