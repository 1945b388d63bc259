//! The consumer's part: read in order, apply each event once, commit the offset afterwards.

use crate::protocol::{Action, Mistake, Protocol};
use crate::state::{Event, State};

pub(crate) fn steps(state: &State, steps: &mut Vec<Action>) {
    if state.in_hand.is_some() || state.position < state.topic.len() {
        steps.push(Action::Handle);
    }
    if state.position > 0 {
        steps.push(Action::CommitOffset);
    }
}

/// What may go wrong with the consumer. A crash with nothing handled since the last commit changes nothing.
pub(crate) fn faults(state: &State, faults: &mut Vec<Action>) {
    if state.position > 0 || state.in_hand.is_some() {
        faults.push(Action::ConsumerCrashes);
    }
}

impl Protocol {
    /// Deals with the next record. Mistaken consumers need two steps for it, and may crash in between.
    pub(crate) fn handle(&self, state: &mut State) {
        match self.mistake {
            Some(Mistake::OffsetBeforeEffect) => match state.in_hand.take() {
                None => {
                    state.in_hand = Some(state.topic[0]);
                    commit_offset(state, 1);
                }
                Some(event) => apply_once(state, event),
            },
            Some(Mistake::InboxAfterEffect) => match state.in_hand.take() {
                None => {
                    let event = state.topic[state.position];
                    if !in_inbox(state, event) {
                        apply(state, event);
                    }
                    state.in_hand = Some(event);
                }
                Some(event) => {
                    insert_into_inbox(state, event);
                    state.position += 1;
                }
            },
            Some(Mistake::InboxBeforeEffect) => match state.in_hand.take() {
                None => {
                    let event = state.topic[state.position];
                    if insert_into_inbox(state, event) {
                        state.in_hand = Some(event);
                    } else {
                        state.position += 1;
                    }
                }
                Some(event) => {
                    apply(state, event);
                    state.position += 1;
                }
            },
            _ => {
                apply_once(state, state.topic[state.position]);
                state.position += 1;
            }
        }
    }
}

/// Effect and inbox row in one transaction; nothing, if the inbox row is there.
fn apply_once(state: &mut State, event: Event) {
    if insert_into_inbox(state, event) {
        apply(state, event);
    }
}

fn apply(state: &mut State, event: Event) {
    state.keys[event.key].effects.push(event.sequence);
}

fn in_inbox(state: &State, event: Event) -> bool {
    state.keys[event.key].inbox.contains(event.sequence)
}

fn insert_into_inbox(state: &mut State, event: Event) -> bool {
    state.keys[event.key].inbox.insert(event.sequence)
}

/// Moves the committed offset over the next `count` records.
pub(crate) fn commit_offset(state: &mut State, count: usize) {
    for event in state.topic.drain(..count) {
        state.keys[event.key].passed.insert(event.sequence);
    }
    state.position = state.position.saturating_sub(count);
}

pub(crate) fn crash(state: &mut State) {
    state.faults -= 1;
    state.position = 0;
    state.in_hand = None;
}
