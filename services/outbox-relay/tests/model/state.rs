//! What the system remembers between two steps: tables, leases, records under way, the topic, the consumer's database.
//!
//! Whatever has no bearing on the future is left out, so that two histories which differ only in that count as one state.

use std::fmt;

/// How many aggregates have events. All in one bucket: buckets share nothing, so one is the hardest case.
pub(crate) const KEYS: usize = 2;
/// How many relays run.
pub(crate) const RELAYS: usize = 2;
/// How many transactions of writers are open at once, at most.
pub(crate) const WRITERS: usize = 2;

/// An event: the `sequence`-th commit of its key, from 1. Printed as `a1`, `b2`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Event {
    pub(crate) key: usize,
    pub(crate) sequence: u8,
}

impl fmt::Debug for Event {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}{}", ["a", "b"][self.key], self.sequence)
    }
}

/// One moment of the whole system.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct State {
    /// The table, in the order of `id`. A row stands here from the moment its identity is taken.
    pub(crate) outbox: Vec<Row>,
    /// The relay processes.
    pub(crate) relays: [Relay; RELAYS],
    /// Records that nobody waits for any more and that the broker may still write. Sorted.
    pub(crate) strays: Vec<Event>,
    /// The records from the committed offset on, in order. What lies before is in [`Key::passed`].
    pub(crate) topic: Vec<Event>,
    /// How many records of `topic` the consumer is through with.
    pub(crate) position: usize,
    /// A record that a mistaken consumer has dealt with by half.
    pub(crate) in_hand: Option<Event>,
    /// What is known of each key.
    pub(crate) keys: [Key; KEYS],
    /// How many faults may still happen.
    pub(crate) faults: u8,
}

/// A row of the outbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Row {
    pub(crate) key: usize,
    /// Given at the commit. `None`: the transaction is open, and nobody else sees the row.
    pub(crate) sequence: Option<u8>,
    /// A cursor has gone past the row. Only a mistaken relay keeps one.
    pub(crate) behind_cursor: bool,
}

impl Row {
    /// The event, once others can see it.
    pub(crate) fn event(&self) -> Option<Event> {
        self.sequence.map(|sequence| Event { key: self.key, sequence })
    }
}

/// A key in the orders database, in the topic and in the consumer's database.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    /// Transactions begun.
    pub(crate) begun: u8,
    /// Transactions committed: the sequence of the newest event.
    pub(crate) committed: u8,
    /// Events with a record before the committed offset.
    pub(crate) passed: Sequences,
    /// Events with a row in the inbox.
    pub(crate) inbox: Sequences,
    /// The effects in the consumer's database, in the order in which they were applied.
    pub(crate) effects: Vec<u8>,
}

/// A set of sequences.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Sequences(u8);

impl Sequences {
    /// Adds one. `false`: it was there already.
    pub(crate) fn insert(&mut self, sequence: u8) -> bool {
        let new = !self.contains(sequence);
        self.0 |= 1 << sequence;
        new
    }

    pub(crate) fn contains(self, sequence: u8) -> bool {
        self.0 & (1 << sequence) != 0
    }
}

impl fmt::Debug for Sequences {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries((0..8).filter(|sequence| self.contains(*sequence))).finish()
    }
}

/// The memory of a relay process. A relay that is frozen is one that takes no step for as long as it pleases the checker.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Relay {
    pub(crate) lease: Lease,
    /// What it has claimed and not settled yet. Sorted.
    pub(crate) batch: Vec<Sent>,
}

/// What a relay believes about the lease. Epochs are only ever compared with the newest one, so they need no numbers here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Lease {
    /// It stands by.
    #[default]
    None,
    /// It holds the lease, under the newest epoch.
    Held,
    /// It believes so, but another relay has taken over under a newer epoch.
    Outdated,
}

/// A record that was handed to the producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Sent {
    pub(crate) event: Event,
    pub(crate) delivery: Delivery,
}

/// What the relay knows about a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Delivery {
    /// Nothing yet.
    InFlight,
    /// It is in the topic.
    Acknowledged,
    /// Nothing in time, and nothing ever: it may be in the topic, get there later, or never.
    TimedOut,
}

impl State {
    pub(crate) fn new(faults: u8) -> Self {
        Self {
            outbox: Vec::new(),
            relays: Default::default(),
            strays: Vec::new(),
            topic: Vec::new(),
            position: 0,
            in_hand: None,
            keys: Default::default(),
            faults,
        }
    }

    /// Whether the event has ever been written to the topic.
    pub(crate) fn was_published(&self, event: Event) -> bool {
        self.keys[event.key].passed.contains(event.sequence) || self.topic.contains(&event)
    }

    /// A record that nobody waits for is on its way.
    pub(crate) fn add_stray(&mut self, event: Event) {
        self.strays.push(event);
        self.strays.sort_unstable();
    }

    /// Takes a record off its way.
    pub(crate) fn remove_stray(&mut self, event: Event) {
        if let Some(place) = self.strays.iter().position(|stray| *stray == event) {
            self.strays.remove(place);
        }
    }

    /// The same state for all states that differ only in which relay or which key is which. The checker looks at one of them.
    pub(crate) fn representative(&self) -> Self {
        let mut representative = self.clone();
        representative.relays.sort_unstable();
        let mut swapped = representative.clone();
        swapped.swap_keys();
        representative.min(swapped)
    }

    fn swap_keys(&mut self) {
        let other = |key: &mut usize| *key = KEYS - 1 - *key;
        self.keys.reverse();
        self.outbox.iter_mut().for_each(|row| other(&mut row.key));
        self.topic
            .iter_mut()
            .chain(&mut self.strays)
            .chain(&mut self.in_hand)
            .for_each(|event| other(&mut event.key));
        self.strays.sort_unstable();
        for relay in &mut self.relays {
            relay.batch.iter_mut().for_each(|sent| other(&mut sent.event.key));
            relay.batch.sort_unstable();
        }
        self.relays.sort_unstable();
    }
}
