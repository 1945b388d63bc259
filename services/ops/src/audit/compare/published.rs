//! The topic against the accepted events.

use std::collections::{BTreeSet, HashMap};

use contracts::event_id;
use uuid::Uuid;

use super::excuses::Fate;
use super::minutes::UNKNOWN;
use super::orders::Orders;
use super::stage::{Kind, Stage};

/// What matters of an event on the topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its id.
    pub id: Uuid,
    /// Its number among the events of its order.
    pub sequence: i64,
    /// The minute in which it was decided, since 1970.
    pub minute: i64,
}

/// What an event on the topic turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// The first occurrence.
    First,
    /// Not the first.
    Again,
    /// Not among the accepted events of the order. It may have been accepted since; if not, it is [`Published::phantom`].
    Unknown,
}

/// Events that are not, or not yet, to be on the topic. By position in [`Orders`] and sequence.
#[derive(Debug, Default)]
pub struct Backlog {
    /// In the outbox.
    pub waiting: BTreeSet<(usize, i64)>,
    /// Orders whose key is blocked, with the reason.
    pub blocked: HashMap<usize, String>,
    /// Taken out of the outbox by an operator, with who did it and why.
    pub skipped: HashMap<(usize, i64), String>,
}

/// What came of the accepted events.
#[derive(Debug)]
pub struct Outcome {
    /// The row.
    pub stage: Stage,
    /// The fate of each order's first event, by position.
    pub fates: Vec<Fate>,
    /// The minute of each first event that was seen, [`UNKNOWN`] for the others; by position.
    pub minutes: Vec<i64>,
    /// The missing events: position and sequence.
    pub missing: Vec<(usize, i64)>,
}

/// How far an order's events have come. Almost all come in order, so a number says it.
#[derive(Clone, Debug)]
struct Progress {
    /// Events 1 to this have been seen.
    through: u32,
    /// Of the first event.
    minute: i64,
}

/// Follows the topic, partition by partition or mixed: records of one order have to come in their order.
#[derive(Debug)]
pub struct Published<'a> {
    stage: Stage,
    orders: &'a Orders,
    progress: Vec<Progress>,
    /// Events seen beyond a gap.
    ahead: HashMap<usize, BTreeSet<i64>>,
}

impl<'a> Published<'a> {
    /// Nothing seen yet.
    pub fn new(stage: Stage, orders: &'a Orders) -> Self {
        let progress = vec![Progress { through: 0, minute: UNKNOWN }; orders.len()];
        Self { stage, orders, progress, ahead: HashMap::new() }
    }

    /// The next event of the order at `position`.
    pub fn record(&mut self, position: usize, event: Event) -> Seen {
        let (Some(order), Some(progress)) =
            (self.orders.all().get(position), self.progress.get_mut(position))
        else {
            return Seen::Unknown;
        };
        let sequence = event.sequence;
        if !(1..=order.events).contains(&sequence) {
            return Seen::Unknown;
        }
        if event.id != event_id(order.id, sequence) {
            // No inbox recognises it as a repeat of the event that it is.
            self.stage.add(Kind::Doubled, 1, || {
                (order.id.to_string(), format!("event {sequence} under the foreign id {}", event.id))
            });
            return Seen::Again;
        }
        let ahead = self.ahead.get(&position);
        if sequence <= i64::from(progress.through) || ahead.is_some_and(|ahead| ahead.contains(&sequence)) {
            self.stage.add(Kind::Repeated, 1, || {
                (order.id.to_string(), format!("event {sequence} is on the topic again, id {}", event.id))
            });
            return Seen::Again;
        }
        if let Some(later) = ahead.and_then(BTreeSet::last).filter(|later| **later > sequence) {
            self.stage.add(Kind::OutOfOrder, 1, || {
                (order.id.to_string(), format!("event {sequence} comes after event {later}"))
            });
        }
        if sequence == 1 {
            progress.minute = event.minute;
        }
        let ahead = self.ahead.entry(position).or_default();
        ahead.insert(sequence);
        while ahead.first() == Some(&(i64::from(progress.through) + 1)) {
            ahead.pop_first();
            progress.through = progress.through.saturating_add(1);
        }
        if ahead.is_empty() {
            self.ahead.remove(&position);
        }
        Seen::First
    }

    /// An event that nobody accepted.
    pub fn phantom(&mut self, order: Uuid, sequence: i64) {
        self.stage
            .add(Kind::Doubled, 1, || (order.to_string(), format!("nobody accepted its event {sequence}")));
    }

    /// Compares. `out_of_sight`: events of orders of this position may have been removed by retention.
    pub fn finish(mut self, backlog: &Backlog, out_of_sight: impl Fn(usize) -> bool) -> Outcome {
        let (mut fates, mut missing) = (Vec::with_capacity(self.progress.len()), Vec::new());
        let beyond_gaps = std::mem::take(&mut self.ahead);
        for (position, order) in self.orders.all().iter().enumerate() {
            let through = self.progress.get(position).map_or(0, |progress| i64::from(progress.through));
            let ahead = beyond_gaps.get(&position);
            let mut first = Fate::Published;
            self.stage.checked += order.events.max(0).cast_unsigned();
            for sequence in through + 1..=order.events {
                if ahead.is_some_and(|ahead| ahead.contains(&sequence)) {
                    continue;
                }
                let fate = self.absent(position, order.id, sequence, backlog, &out_of_sight);
                if fate == Fate::Missing {
                    missing.push((position, sequence));
                }
                if sequence == 1 {
                    first = fate;
                }
            }
            fates.push(first);
        }
        let minutes = self.progress.iter().map(|progress| progress.minute).collect();
        Outcome { stage: self.stage, fates, minutes, missing }
    }

    /// Counts an event that is not on the topic.
    fn absent(
        &mut self,
        position: usize,
        order: Uuid,
        sequence: i64,
        backlog: &Backlog,
        out_of_sight: &impl Fn(usize) -> bool,
    ) -> Fate {
        let (fate, column, detail) = if let Some(reason) = backlog.skipped.get(&(position, sequence)) {
            (Fate::Skipped, Kind::Skipped, format!("event {sequence} was skipped by {reason}"))
        } else if backlog.waiting.contains(&(position, sequence)) {
            match backlog.blocked.get(&position) {
                Some(reason) => {
                    (Fate::Blocked, Kind::Waiting, format!("event {sequence} is blocked: {reason}"))
                }
                None => (Fate::InOutbox, Kind::Waiting, format!("event {sequence} is in the outbox")),
            }
        } else if out_of_sight(position) {
            self.stage.out_of_sight += 1;
            return Fate::Published;
        } else {
            (
                Fate::Missing,
                Kind::Missing,
                format!("event {sequence} is neither on the topic nor in the outbox"),
            )
        };
        self.stage.add(column, 1, || (order.to_string(), detail));
        fate
    }
}
