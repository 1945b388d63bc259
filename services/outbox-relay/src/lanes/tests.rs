use std::collections::BTreeMap;

use chrono::DateTime;
use proptest::prelude::*;

use super::*;

fn row(key: u8, id: i64) -> Row {
    Row {
        row_id: RowId { bucket: i16::from(key % 3), id },
        topic: "things".into(),
        aggregate_id: Uuid::from_u128(u128::from(key)),
        sequence: id,
        event_id: Uuid::nil(),
        event_type: "ThingHappened".into(),
        source: "/tests".into(),
        traceparent: None,
        created_at: DateTime::UNIX_EPOCH,
        payload: "{}".into(),
    }
}

fn key(key: u8) -> Uuid {
    Uuid::from_u128(u128::from(key))
}

fn sent(lanes: &mut Lanes) -> Vec<i64> {
    std::iter::from_fn(|| lanes.next().map(|row| row.row_id.id)).collect()
}

#[test]
fn the_second_row_of_a_key_waits_for_the_acknowledgement_of_the_first() {
    let mut lanes = Lanes::default();
    lanes.add(vec![row(1, 1), row(1, 2), row(2, 3)]);
    assert_eq!(sent(&mut lanes), [1, 3]);
    lanes.failed(key(1));
    assert_eq!(sent(&mut lanes), [1], "sent again");
    lanes.acknowledged(key(1));
    assert_eq!(sent(&mut lanes), [2]);
    assert_eq!(lanes.take_acknowledged(), [row(1, 1).row_id]);
}

#[test]
fn a_refusal_counts_only_after_the_row_was_sent_alone() {
    let mut lanes = Lanes::default();
    lanes.add(vec![row(1, 1), row(2, 2), row(2, 3)]);
    assert_eq!(sent(&mut lanes), [1, 2]);
    assert_eq!(lanes.refused(key(1)), None);
    assert!(sent(&mut lanes).is_empty(), "another row is in flight");
    lanes.acknowledged(key(2));
    assert_eq!(sent(&mut lanes), [1], "alone, although another key has a row");
    assert_eq!(lanes.refused(key(1)), Some(Refused::Alone(row(1, 1))));
    assert_eq!(sent(&mut lanes), [3]);
    lanes.blocked(key(1));
    lanes.acknowledged(key(2));
    assert_eq!(lanes.waiting(), 0);
}

#[test]
fn a_row_in_flight_whose_bucket_was_given_up_is_dropped_when_it_fails_and_says_so() {
    let mut lanes = Lanes::default();
    lanes.add(vec![row(1, 1), row(2, 2)]);
    assert_eq!(sent(&mut lanes), [1, 2]);
    let bucket = row(1, 1).row_id.bucket;
    lanes.leave(bucket);
    lanes.leave(row(2, 2).row_id.bucket);
    assert_eq!(lanes.failed(key(1)), Some(bucket));
    assert_eq!(lanes.refused(key(2)), Some(Refused::Dropped(row(2, 2).row_id.bucket)));
    assert_eq!((lanes.waiting(), lanes.in_flight()), (0, 0));
}

#[test]
fn a_hot_key_is_read_apart_and_takes_only_so_much_room() {
    let mut lanes = Lanes::default();
    let crowd = CROWD as i64;
    lanes.add((1..=crowd).map(|id| row(1, id)).collect());
    assert_eq!(lanes.crowded(), [key(1)]);
    assert_eq!(lanes.thinned(), None);
    for _ in 0..CROWD {
        sent(&mut lanes);
        lanes.acknowledged(key(1));
    }
    let refill = lanes.thinned().unwrap();
    assert_eq!(refill, Refill { bucket: 1, key: key(1), after: crowd });
    lanes.refill(refill, vec![row(1, crowd + 1)], true);
    assert!(lanes.crowded().is_empty());
    assert_eq!(sent(&mut lanes), [crowd + 1]);
}

/// What can happen, in any order.
#[derive(Clone, Debug)]
enum Event {
    /// A row of this key is committed.
    Commit(u8),
    /// At most so many rows are asked for, if nothing else is; the answer is what is there now, and comes later.
    Claim(usize),
    /// The answer comes.
    Claimed,
    Send,
    Acknowledge(u8),
    Fail(u8),
    Refuse(u8),
    /// Rows are removed, if no others are being removed; the answer comes later.
    Settle,
    /// The answer comes.
    Settled,
    /// Settling failed, or its answer was lost.
    SettleInVain(bool),
    /// A bucket is lost and won again.
    Lose(i16),
}

fn event() -> impl Strategy<Value = Event> {
    let key = 0..5u8;
    prop_oneof![
        3 => key.clone().prop_map(Event::Commit),
        3 => (1..6usize).prop_map(Event::Claim),
        3 => Just(Event::Claimed),
        6 => Just(Event::Send),
        6 => key.clone().prop_map(Event::Acknowledge),
        1 => key.clone().prop_map(Event::Fail),
        1 => key.prop_map(Event::Refuse),
        3 => Just(Event::Settle),
        3 => Just(Event::Settled),
        1 => any::<bool>().prop_map(Event::SettleInVain),
        1 => (0..3i16).prop_map(Event::Lose),
    ]
}

/// The table, the topic and what is in flight, in the simplest form.
#[derive(Default)]
struct World {
    lanes: Lanes,
    ids: i64,
    table: BTreeMap<i64, u8>,
    /// What a claim has found, on its way to the relay.
    found: Option<Vec<Row>>,
    /// What was removed, on its way to the relay.
    removed: Option<Vec<RowId>>,
    topic: BTreeMap<u8, Vec<i64>>,
    in_flight: BTreeMap<u8, i64>,
    blocked: Vec<u8>,
    committed: BTreeMap<u8, Vec<i64>>,
}

impl World {
    fn claim(&mut self, limit: usize) {
        if self.found.is_some() {
            return;
        }
        let starts: Vec<Start> = (0..3).map(|bucket| Start { bucket, after: 0 }).collect();
        let (in_hand, crowded) = (self.lanes.in_the_way_of(&starts), self.lanes.crowded());
        let wanted = self.table.iter().filter(|(id, owner)| {
            !in_hand.contains(id) && !crowded.contains(&key(**owner)) && !self.blocked.contains(owner)
        });
        self.found = Some(wanted.take(limit).map(|(id, owner)| row(*owner, *id)).collect());
    }

    fn claimed(&mut self) {
        self.lanes.add(self.found.take().unwrap_or_default());
    }

    fn send(&mut self) {
        let Some(row) = self.lanes.next().cloned() else { return };
        let owner = row.aggregate_id.as_u128() as u8;
        let others = self.in_flight.insert(owner, row.row_id.id);
        assert_eq!(others, None, "a second row of a key in flight");
        // All older rows of the key are on the topic.
        for older in self.committed[&owner].iter().take_while(|older| **older < row.row_id.id) {
            assert!(self.topic.get(&owner).is_some_and(|seen| seen.contains(older)), "{older} was overtaken");
        }
    }

    fn acknowledge(&mut self, owner: u8) {
        if let Some(id) = self.in_flight.remove(&owner) {
            self.topic.entry(owner).or_default().push(id);
            self.lanes.acknowledged(key(owner));
        }
    }

    /// The horizon drops what was asked for before that.
    fn read_anew(&mut self, bucket: i16) {
        self.found.iter_mut().for_each(|rows| rows.retain(|row| row.row_id.bucket != bucket));
    }

    fn settle(&mut self) {
        if self.removed.is_some() {
            return;
        }
        let rows = self.lanes.take_acknowledged();
        for settled in &rows {
            if let Some(owner) = self.table.remove(&settled.id) {
                assert!(self.topic[&owner].contains(&settled.id), "settled without an acknowledgement");
            }
        }
        self.removed = Some(rows);
    }

    fn settled(&mut self) {
        self.lanes.settled(&self.removed.take().unwrap_or_default());
    }

    fn happens(&mut self, event: &Event) {
        match *event {
            Event::Commit(owner) => {
                self.ids += 1;
                self.table.insert(self.ids, owner);
                self.committed.entry(owner).or_default().push(self.ids);
            }
            Event::Claim(limit) => self.claim(limit),
            Event::Claimed => self.claimed(),
            Event::Send => self.send(),
            Event::Acknowledge(owner) => self.acknowledge(owner),
            Event::Fail(owner) => {
                if self.in_flight.remove(&owner).is_some()
                    && let Some(bucket) = self.lanes.failed(key(owner))
                {
                    self.read_anew(bucket);
                }
            }
            Event::Refuse(owner) => {
                let company = self.in_flight.len();
                if self.in_flight.remove(&owner).is_none() {
                    return;
                }
                match self.lanes.refused(key(owner)) {
                    Some(Refused::Alone(_)) => {
                        assert_eq!(company, 1, "blocked although it was not alone");
                        // No key is blocked while rows are being asked for.
                        self.claimed();
                        self.blocked.push(owner);
                        self.lanes.blocked(key(owner));
                    }
                    Some(Refused::Dropped(bucket)) => self.read_anew(bucket),
                    None => {}
                }
            }
            Event::Settle => self.settle(),
            Event::Settled => self.settled(),
            Event::SettleInVain(done) => {
                let rows = self.lanes.take_acknowledged();
                if done {
                    for settled in &rows {
                        self.table.remove(&settled.id);
                    }
                }
                self.lanes.not_settled(rows);
            }
            Event::Lose(bucket) => {
                self.lanes.leave(bucket);
                self.read_anew(bucket);
            }
        }
    }

    /// Everything goes well from here on.
    fn finish(&mut self) {
        for _ in 0..2 * self.ids + 2 {
            self.claim(usize::MAX);
            self.claimed();
            for _ in 0..5 {
                self.send();
            }
            for owner in 0..5 {
                self.acknowledge(owner);
            }
            self.settle();
            self.settled();
        }
    }
}

proptest! {
    #[test]
    fn whatever_happens_every_row_is_published_in_order_and_settled(events in prop::collection::vec(event(), 0..200)) {
        let mut world = World::default();
        for event in &events {
            world.happens(event);
        }
        world.finish();
        for (owner, committed) in &world.committed {
            if !world.blocked.contains(owner) {
                let mut first: Vec<i64> = Vec::new();
                for id in &world.topic[owner] {
                    if !first.contains(id) {
                        first.push(*id);
                    }
                }
                prop_assert_eq!(&first, committed);
            }
        }
        prop_assert!(world.table.values().all(|owner| world.blocked.contains(owner)));
        prop_assert_eq!((world.lanes.waiting(), world.lanes.in_flight(), world.lanes.to_settle()), (0, 0, 0));
        prop_assert!(world.lanes.ids.is_empty() && world.lanes.lanes.is_empty());
    }
}
