//! The protocol: which steps are possible in a state, and what each of them changes.
//!
//! A step stands for one statement or one message. Whatever happens inside one is atomic: the database and the broker see to that.

use stateright::{Model, Property};

use crate::state::{Event, KEYS, Lease, Row, State, WRITERS};
use crate::{consumer, properties, relay};

/// The protocol within bounds, right or with a mistake put in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Protocol {
    /// How many keys get events, at most [`KEYS`].
    pub(crate) keys: usize,
    /// How many events each key gets.
    pub(crate) events: u8,
    /// How many faults happen, at most, of whatever kinds.
    pub(crate) faults: u8,
    /// What is done wrong.
    pub(crate) mistake: Option<Mistake>,
    /// Whether settling checks that the lease was not taken over.
    pub(crate) epoch_check: bool,
}

/// Ways to get it wrong. Each can be found in some published outbox or consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mistake {
    /// The relay deletes all rows of a batch, not only those that were acknowledged.
    SettleWhatWasClaimed,
    /// The relay sends all rows that it finds, several of one key at once.
    TwoRowsOfAKeyInFlight,
    /// The relay remembers the highest id that it has settled and looks only at higher ones.
    ClaimByCursor,
    /// All relays work at once; each claims with `FOR UPDATE SKIP LOCKED`.
    SkipLockedWithoutLeases,
    /// A writer takes the id of its outbox row first and locks the row of its aggregate afterwards.
    IdentityBeforeLock,
    /// The consumer commits the offset of a record and applies the effect afterwards.
    OffsetBeforeEffect,
    /// The consumer writes the inbox row in a transaction of its own, after that of the effect.
    InboxAfterEffect,
    /// The consumer writes the inbox row in a transaction of its own, before that of the effect.
    InboxBeforeEffect,
}

/// A step, or a fault. `relay` and `key` are places in the arrays of [`State`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// A writer begins: it locks the aggregate's row and takes the next id of the outbox.
    Insert { key: usize },
    /// A writer commits: from now on others see the row that stands at `place` of the outbox.
    Commit { place: usize },
    /// The relay takes a lease that no living relay holds.
    TakeLease { relay: usize },
    /// The relay is refused when it wants to prolong the lease, and stands by.
    LoseLease { relay: usize },
    /// The relay claims the oldest row of each key and hands the records to its producer.
    Claim { relay: usize },
    /// The broker writes a record; the acknowledgement reaches the relay.
    Write { relay: usize, event: Event },
    /// The relay, every record of its batch being acknowledged or given up, deletes what was acknowledged.
    Settle { relay: usize },
    /// The broker writes a record that nobody waits for any more.
    WriteStray { event: Event },
    /// A record that nobody waits for any more is lost.
    DropStray { event: Event },
    /// The consumer applies effect and inbox row of the next record in one transaction, or finds the inbox row and does nothing.
    Handle,
    /// The consumer commits the offset after all records that it has handled.
    CommitOffset,

    /// Fault: a relay dies and starts anew. What it had sent may still be written, or not.
    RelayCrashes { relay: usize },
    /// Fault: the holder is frozen past the end of its lease, and `relay` takes over.
    TakeOver { relay: usize },
    /// Fault: no acknowledgement within `message.timeout.ms`. Broker, network or the relay itself may be at fault.
    TimeOut { relay: usize, event: Event },
    /// Fault: the consumer dies; its successor starts at the committed offset.
    ConsumerCrashes,
}

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::new(self.faults)]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        self.steps_to_the_topic(state, actions);
        let all_published = actions.is_empty();
        if all_published {
            consumer::steps(state, actions);
        }
        if state.faults > 0 {
            let faults = if all_published { consumer::faults } else { relay::faults };
            faults(state, actions);
        }
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut next = state.clone();
        self.take(&mut next, action);
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::all()
    }
}

impl Protocol {
    /// The right protocol: two keys, and as many events and faults as given.
    pub(crate) fn right(events: u8, faults: u8) -> Self {
        Self { keys: KEYS, events, faults, mistake: None, epoch_check: true }
    }

    pub(crate) fn makes(&self, mistake: Mistake) -> bool {
        self.mistake == Some(mistake)
    }

    /// What may happen next without any fault. The consumer begins when everybody else is done: what it does with a record depends on the
    /// records before it, not on the time, and nobody else looks at what it does. So this leaves out no outcome, only many states.
    pub(crate) fn steps(&self, state: &State, steps: &mut Vec<Action>) {
        self.steps_to_the_topic(state, steps);
        if steps.is_empty() {
            consumer::steps(state, steps);
        }
    }

    /// What writers, relays and broker may do next.
    fn steps_to_the_topic(&self, state: &State, steps: &mut Vec<Action>) {
        for key in 0..self.keys {
            if self.may_insert(state, key) {
                steps.push(Action::Insert { key });
            }
        }
        for (place, row) in state.outbox.iter().enumerate() {
            if row.sequence.is_none() {
                steps.push(Action::Commit { place });
            }
        }
        for relay in 0..state.relays.len() {
            self.steps_of_relay(state, relay, steps);
        }
        relay::steps_of_strays(state, steps);
    }

    /// The lock on the aggregate's row makes a writer wait for the open transaction of its key, unless it is taken too late.
    fn may_insert(&self, state: &State, key: usize) -> bool {
        let open = |row: &&Row| row.sequence.is_none();
        let locked = state.outbox.iter().filter(open).any(|row| row.key == key);
        state.keys[key].begun < self.events
            && state.outbox.iter().filter(open).count() < WRITERS
            && (!locked || self.makes(Mistake::IdentityBeforeLock))
    }

    fn take(&self, state: &mut State, action: Action) {
        match action {
            Action::Insert { key } => {
                state.keys[key].begun += 1;
                state.outbox.push(Row { key, sequence: None, behind_cursor: false });
            }
            Action::Commit { place } => {
                let row = &mut state.outbox[place];
                state.keys[row.key].committed += 1;
                row.sequence = Some(state.keys[row.key].committed);
            }
            Action::Handle => self.handle(state),
            Action::CommitOffset => consumer::commit_offset(state, state.position),
            Action::ConsumerCrashes => consumer::crash(state),
            Action::TakeLease { relay } => state.relays[relay].lease = Lease::Held,
            Action::LoseLease { relay } => state.relays[relay].lease = Lease::None,
            Action::Claim { relay } => self.claim(state, relay),
            Action::Write { relay, event } => relay::write(state, relay, event),
            Action::TimeOut { relay, event } => relay::time_out(state, relay, event),
            Action::Settle { relay } => self.settle(state, relay),
            Action::WriteStray { event } => {
                state.remove_stray(event);
                state.topic.push(event);
            }
            Action::DropStray { event } => state.remove_stray(event),
            Action::RelayCrashes { relay } => relay::crash(state, relay),
            Action::TakeOver { relay } => relay::take_over(state, relay),
        }
    }
}
