//! Rows in hand, a lane per key: what may be sent next, what was acknowledged, what has to be sent alone. No I/O.
//!
//! Invariants, for each key:
//! - at most one row is in flight;
//! - rows are sent in the order of their ids, and a row only after the one before it was acknowledged;
//! - a refusal counts only for a row that was in flight alone: librdkafka fails every record of a refused batch.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use persistence::outbox::{Row, RowId, Start};
use uuid::Uuid;

/// Rows of one key in hand from which on its further rows are left in the table, so that a hot key takes no room from others.
pub(crate) const CROWD: usize = 128;

/// Rows that were claimed and are not settled yet.
#[derive(Debug, Default)]
pub(crate) struct Lanes {
    lanes: HashMap<Uuid, Lane>,
    /// Keys whose first row may be sent, in turn.
    ready: VecDeque<Uuid>,
    /// Keys whose first row was refused in company.
    suspects: VecDeque<Uuid>,
    /// Whether the row in flight is a suspect.
    alone: bool,
    in_flight: usize,
    waiting: usize,
    acknowledged: Vec<RowId>,
    /// Ids in hand with their buckets, acknowledged ones included until they are settled.
    ids: HashMap<i64, i16>,
    /// Keys of which the table holds more, with the id of the last row claimed.
    crowded: HashMap<Uuid, i64>,
}

#[derive(Debug)]
struct Lane {
    bucket: i16,
    rows: VecDeque<Row>,
    state: State,
    /// Its bucket was given up: what is in flight is the last.
    leaving: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// In `ready`, or without rows.
    Ready,
    InFlight,
    /// In `suspects`.
    Suspect,
    /// Refused alone; about to be blocked.
    Refused,
}

/// A row that Kafka refused, if it is not to be sent once more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It was sent alone. Its key is to be blocked, and after that forgotten.
    Alone(Row),
    /// Its bucket was given up meanwhile; see [`Lanes::failed`].
    Dropped(i16),
}

/// A key of which the table holds more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refill {
    pub(crate) bucket: i16,
    pub(crate) key: Uuid,
    pub(crate) after: i64,
}

impl Lanes {
    /// Takes claimed rows, which come in the order of their ids per key. Those in hand already are ignored.
    pub(crate) fn add(&mut self, rows: Vec<Row>) {
        for row in rows {
            if self.ids.insert(row.row_id.id, row.row_id.bucket).is_some() {
                continue;
            }
            let lane = self.lanes.entry(row.aggregate_id).or_insert_with(|| Lane {
                bucket: row.row_id.bucket,
                rows: VecDeque::new(),
                state: State::Ready,
                leaving: false,
            });
            lane.leaving = false;
            if lane.rows.is_empty() && lane.state == State::Ready {
                self.ready.push_back(row.aggregate_id);
            }
            let (key, id) = (row.aggregate_id, row.row_id.id);
            lane.rows.push_back(row);
            if lane.rows.len() >= CROWD {
                self.crowded.insert(key, id);
            }
            self.waiting += 1;
        }
    }

    /// Takes what the table had for a crowded key; `all`: it has no more.
    pub(crate) fn refill(&mut self, refill: Refill, rows: Vec<Row>, all: bool) {
        // Forgotten meanwhile, and perhaps claimed anew.
        if self.crowded.get(&refill.key) != Some(&refill.after) {
            return;
        }
        match rows.last() {
            Some(last) if !all => self.crowded.insert(refill.key, last.row_id.id),
            _ => self.crowded.remove(&refill.key),
        };
        self.add(rows);
        self.remove_if_done(refill.key);
    }

    /// Whether [`Lanes::next`] would return a row.
    pub(crate) fn can_send(&self) -> bool {
        if self.suspects.is_empty() { !self.alone && !self.ready.is_empty() } else { self.in_flight == 0 }
    }

    /// The next row to send, which counts as in flight from then on.
    pub(crate) fn next(&mut self) -> Option<&Row> {
        let key = match self.suspects.front() {
            Some(_) if self.in_flight > 0 => return None,
            Some(_) => {
                self.alone = true;
                self.suspects.pop_front()?
            }
            None if self.alone => return None,
            None => self.ready.pop_front()?,
        };
        let lane = self.lanes.get_mut(&key)?;
        lane.state = State::InFlight;
        self.in_flight += 1;
        lane.rows.front()
    }

    /// Kafka has the row in flight of `key`.
    pub(crate) fn acknowledged(&mut self, key: Uuid) {
        let Some(lane) = self.landed(key) else { return };
        let row = lane.rows.pop_front();
        let more = !lane.rows.is_empty();
        if let Some(row) = row {
            self.acknowledged.push(row.row_id);
            self.waiting -= 1;
        }
        if more {
            self.ready.push_back(key);
        } else {
            self.remove_if_done(key);
        }
    }

    /// It is unknown whether Kafka has the row in flight of `key`: it is sent again. If its bucket was given up meanwhile it is dropped
    /// instead, and the bucket returned: who has won it back by now has left the row out of what was claimed since.
    pub(crate) fn failed(&mut self, key: Uuid) -> Option<i16> {
        let lane = self.landed(key)?;
        if lane.leaving {
            let bucket = lane.bucket;
            self.forget(key);
            return Some(bucket);
        }
        self.ready.push_front(key);
        None
    }

    /// Kafka refuses the row in flight of `key`. `None`: it was sent in company, and will be sent alone.
    pub(crate) fn refused(&mut self, key: Uuid) -> Option<Refused> {
        let alone = self.alone;
        let lane = self.landed(key)?;
        if lane.leaving {
            let bucket = lane.bucket;
            self.forget(key);
            return Some(Refused::Dropped(bucket));
        }
        if alone {
            lane.state = State::Refused;
            return lane.rows.front().cloned().map(Refused::Alone);
        }
        lane.state = State::Suspect;
        self.suspects.push_back(key);
        None
    }

    fn landed(&mut self, key: Uuid) -> Option<&mut Lane> {
        let lane = self.lanes.get_mut(&key).filter(|lane| lane.state == State::InFlight)?;
        lane.state = State::Ready;
        self.in_flight -= 1;
        self.alone = false;
        Some(lane)
    }

    /// The key of a row that was refused alone is blocked: its rows are dropped.
    pub(crate) fn blocked(&mut self, key: Uuid) {
        // Its bucket may have been lost and won again meanwhile, and the key be on its way once more.
        if self.lanes.get(&key).is_some_and(|lane| lane.state == State::Refused) {
            self.forget(key);
        }
    }

    /// Drops the rows of `key`, none of which is in flight.
    fn forget(&mut self, key: Uuid) {
        if let Some(lane) = self.lanes.remove(&key) {
            self.waiting -= lane.rows.len();
            for row in lane.rows {
                self.ids.remove(&row.row_id.id);
            }
            self.crowded.remove(&key);
            self.ready.retain(|ready| *ready != key);
            self.suspects.retain(|suspect| *suspect != key);
        }
    }

    /// Drops the rows of `bucket` that are not in flight.
    pub(crate) fn leave(&mut self, bucket: i16) {
        let keys: Vec<Uuid> =
            self.lanes.iter().filter(|(_, lane)| lane.bucket == bucket).map(|(key, _)| *key).collect();
        for key in keys {
            let Some(lane) = self.lanes.get_mut(&key) else { continue };
            if lane.state != State::InFlight {
                self.forget(key);
                continue;
            }
            lane.leaving = true;
            self.crowded.remove(&key);
            for row in lane.rows.drain(1..) {
                self.ids.remove(&row.row_id.id);
                self.waiting -= 1;
            }
        }
    }

    /// Buckets of which something is in flight or has to be settled, or waits.
    pub(crate) fn buckets(&self) -> BTreeSet<i16> {
        let waiting = self.lanes.values().map(|lane| lane.bucket);
        waiting.chain(self.acknowledged.iter().map(|row| row.bucket)).collect()
    }

    /// The rows to settle. Each has to be given back by [`Lanes::settled`] or [`Lanes::not_settled`].
    pub(crate) fn take_acknowledged(&mut self) -> Vec<RowId> {
        std::mem::take(&mut self.acknowledged)
    }

    /// These rows have left the table, or are others' to settle.
    pub(crate) fn settled(&mut self, rows: &[RowId]) {
        for row in rows {
            self.ids.remove(&row.id);
        }
    }

    /// These rows have to be settled once more.
    pub(crate) fn not_settled(&mut self, rows: Vec<RowId>) {
        self.acknowledged.extend(rows);
    }

    /// How many rows wait to be settled.
    pub(crate) fn to_settle(&self) -> usize {
        self.acknowledged.len()
    }

    /// How many rows wait to be sent or acknowledged.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting
    }

    /// How many rows are in flight.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Ids in hand that a claim from `starts` would meet.
    pub(crate) fn in_the_way_of(&self, starts: &[Start]) -> Vec<i64> {
        let after: HashMap<i16, i64> = starts.iter().map(|start| (start.bucket, start.after)).collect();
        let met = |(id, bucket): &(&i64, &i16)| after.get(*bucket).is_some_and(|after| *id > after);
        self.ids.iter().filter(met).map(|(id, _)| *id).collect()
    }

    /// Of each bucket of which something is in hand, the lowest id below which all that was claimed is settled.
    pub(crate) fn settled_below(&self) -> BTreeMap<i16, i64> {
        let in_hand = self.ids.iter().map(|(id, bucket)| (*bucket, *id));
        let in_table =
            |(key, after): (&Uuid, &i64)| Some((self.lanes.get(key)?.bucket, after.saturating_add(1)));
        let mut lowest = BTreeMap::new();
        for (bucket, id) in in_hand.chain(self.crowded.iter().filter_map(in_table)) {
            let known = lowest.entry(bucket).or_insert(id);
            *known = id.min(*known);
        }
        lowest
    }

    /// Keys that a claim must leave out, because they are read by themselves.
    pub(crate) fn crowded(&self) -> Vec<Uuid> {
        self.crowded.keys().copied().collect()
    }

    /// A crowded key of which few rows are left in hand.
    pub(crate) fn thinned(&self) -> Option<Refill> {
        self.crowded.iter().find_map(|(key, after)| {
            let lane = self.lanes.get(key).filter(|lane| lane.rows.len() <= CROWD / 4)?;
            Some(Refill { bucket: lane.bucket, key: *key, after: *after })
        })
    }

    fn remove_if_done(&mut self, key: Uuid) {
        let empty = self.lanes.get(&key).is_some_and(|lane| lane.rows.is_empty());
        if empty && !self.crowded.contains_key(&key) {
            self.lanes.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests;
