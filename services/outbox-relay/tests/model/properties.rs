//! What must hold.
//!
//! The checker tries every property in every state that it reaches. The last two say that the hard cases do occur, lest the others
//! hold only because nothing ever happens.

use stateright::{Model, Property};

use crate::protocol::Protocol;
use crate::state::{Event, Lease, State};

pub(crate) const NOTHING_LOST: &str = "an event leaves the outbox only after it is in the topic";
pub(crate) const IN_ORDER: &str = "effects of a key first happen in the order of its commits";
pub(crate) const ONCE: &str = "no effect is applied twice";
pub(crate) const OFFSET_LAST: &str = "the offset passes no record before its effect";
pub(crate) const COMPLETE: &str = "when no step is left, every event is applied";
pub(crate) const CAN_FINISH: &str = "whatever has happened, every event can still be applied";

/// Steps after which a run that has not come to rest is held to go round in a circle. The longest way in the graph is about 50 steps.
const PATIENCE: usize = 150;

pub(crate) fn all() -> Vec<Property<Protocol>> {
    vec![
        Property::always(NOTHING_LOST, nothing_lost),
        Property::always(IN_ORDER, in_order),
        Property::always(ONCE, once),
        Property::always(OFFSET_LAST, offset_last),
        Property::always(COMPLETE, complete),
        Property::always(CAN_FINISH, can_finish),
        Property::sometimes("a record is repeated after a later one of its key", late_repeat),
        Property::sometimes("two relays believe that they hold the lease", two_holders),
    ]
}

/// All committed events.
fn committed(state: &State) -> impl Iterator<Item = Event> {
    let keys = state.keys.iter().enumerate();
    keys.flat_map(|(key, known)| (1..=known.committed).map(move |sequence| Event { key, sequence }))
}

fn nothing_lost(_: &Protocol, state: &State) -> bool {
    committed(state)
        .all(|event| state.outbox.iter().any(|row| row.event() == Some(event)) || state.was_published(event))
}

/// Repeats do not count here, they are the business of [`once`].
fn in_order(_: &Protocol, state: &State) -> bool {
    state.keys.iter().all(|key| {
        let mut effects = key.effects.iter().enumerate();
        effects.all(|(place, effect)| (1..*effect).all(|earlier| key.effects[..place].contains(&earlier)))
    })
}

fn once(_: &Protocol, state: &State) -> bool {
    state.keys.iter().all(|key| {
        let mut effects = key.effects.iter().enumerate();
        effects.all(|(place, effect)| !key.effects[..place].contains(effect))
    })
}

fn offset_last(_: &Protocol, state: &State) -> bool {
    committed(state).all(|event| {
        let key = &state.keys[event.key];
        !key.passed.contains(event.sequence) || key.effects.contains(&event.sequence)
    })
}

fn complete(protocol: &Protocol, state: &State) -> bool {
    let mut steps = Vec::new();
    protocol.steps(state, &mut steps);
    !steps.is_empty() || is_complete(protocol, state)
}

/// Goes on from here without further faults, always by the first step that is possible.
fn can_finish(protocol: &Protocol, state: &State) -> bool {
    let mut state = state.clone();
    let mut steps = Vec::new();
    for _ in 0..PATIENCE {
        steps.clear();
        protocol.steps(&state, &mut steps);
        let Some(step) = steps.first() else { return is_complete(protocol, &state) };
        let Some(next) = protocol.next_state(&state, *step) else { return false };
        state = next;
    }
    false
}

fn is_complete(protocol: &Protocol, state: &State) -> bool {
    state.keys[..protocol.keys]
        .iter()
        .all(|key| (1..=protocol.events).all(|sequence| key.effects.contains(&sequence)))
}

fn late_repeat(_: &Protocol, state: &State) -> bool {
    state.topic.iter().enumerate().any(|(place, event)| {
        let earlier = &state.topic[..place];
        earlier.contains(event)
            && earlier.iter().any(|other| other.key == event.key && other.sequence > event.sequence)
    })
}

fn two_holders(_: &Protocol, state: &State) -> bool {
    state.relays.iter().all(|relay| relay.lease != Lease::None)
}
