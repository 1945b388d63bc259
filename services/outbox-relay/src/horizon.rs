//! Where to read on in each bucket, so that dead rows are not read again and no late row is missed. No I/O.
//!
//! Commit order is not id order: a row can become visible below rows that were claimed long ago. Were it missed, a later row
//! of its key could be published first. What tells whether there can be such a row is the snapshot of each claim: it lists
//! the transactions in progress, and only those can still bring rows with ids that were given out before. So a claim starts
//! at the lowest id that a recently seen transaction may bring. One that stays open for longer is not waited for, or every
//! claim would read all rows that died since it began; when it has ended, the claim that shows its end is thrown away and
//! repeated from its lowest id.
//!
//! What no transaction can still bring is also what whoever takes a bucket over need not read: see [`Horizon::marks`].
//!
//! This covers every writer that locks or creates the aggregate's row before it inserts into the outbox: its transaction has
//! an id before its row has one. For all others there is the sweep from the beginning.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use persistence::outbox::{Row, Snapshot, Start};
use tokio::time::Instant;

/// A transaction in progress for longer counts as long.
const LONG: Duration = Duration::from_millis(100);

/// How far each bucket was read, and who may still bring rows below that.
#[derive(Debug, Default)]
pub(crate) struct Horizon {
    cursors: BTreeMap<i16, Cursor>,
    open: HashMap<u64, Open>,
    /// The greatest id seen so far.
    highest: i64,
    /// Transaction ids from here on were not yet given out at the last claim.
    next: u64,
    /// Where the next claim has to start at the latest, because a long transaction ended.
    overdue: Option<i64>,
    /// How many readings have begun.
    readings: u64,
}

#[derive(Clone, Copy, Debug)]
struct Cursor {
    /// Which reading this is. What a claim of an earlier one brings is not used.
    reading: u64,
    /// All visible rows up to here were claimed.
    read: i64,
    /// Up to here an earlier reading came: a claim that leaves nothing behind has brought this one there too.
    before: i64,
    /// Rows up to here were done with when the bucket was taken over.
    mark: i64,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    /// Its rows have ids above this.
    above: i64,
    since: Instant,
}

/// What a claim is to read.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) starts: Vec<Start>,
    readings: Vec<u64>,
    /// Rows above this are read anew in every bucket.
    from: i64,
}

impl Horizon {
    /// Reads `bucket` from `mark` on, which a former holder left; 0 is the beginning.
    pub(crate) fn add(&mut self, bucket: i16, mark: i64) {
        self.readings += 1;
        let cursor = Cursor { reading: self.readings, read: mark, before: mark, mark };
        self.cursors.insert(bucket, cursor);
    }

    /// Reads `bucket`, if it is read at all, once more from its beginning: rows that were read are to be had again.
    pub(crate) fn read_anew(&mut self, bucket: i16) {
        let Some(cursor) = self.cursors.get_mut(&bucket) else { return };
        self.readings += 1;
        let before = cursor.read.max(cursor.before);
        *cursor = Cursor { reading: self.readings, read: 0, before, mark: 0 };
    }

    /// As [`Horizon::read_anew`], for all buckets.
    pub(crate) fn read_all_anew(&mut self) {
        for bucket in self.buckets() {
            self.read_anew(bucket);
        }
    }

    /// Of each bucket the id up to which all rows were claimed, with none below that a transaction in progress could still bring:
    /// one that begins later takes higher ids. Once what was claimed up to there is settled, a next holder may begin there.
    pub(crate) fn marks(&self) -> BTreeMap<i16, i64> {
        let open = self.open.values().map(|open| open.above).chain(self.overdue).min().unwrap_or(i64::MAX);
        self.cursors
            .iter()
            .map(|(bucket, cursor)| (*bucket, cursor.read.min(open).max(cursor.mark)))
            .collect()
    }

    /// No longer reads `bucket`.
    pub(crate) fn remove(&mut self, bucket: i16) {
        self.cursors.remove(&bucket);
    }

    /// Whether there is nothing to read.
    pub(crate) fn is_empty(&self) -> bool {
        self.cursors.is_empty()
    }

    /// The buckets that are read.
    pub(crate) fn buckets(&self) -> BTreeSet<i16> {
        self.cursors.keys().copied().collect()
    }

    /// Where to start a claim at `now`: buckets to `sweep` at their beginning, the others where something new can be.
    pub(crate) fn plan(&self, now: Instant, sweep: &BTreeSet<i16>) -> Plan {
        let recent = self.open.values().filter(|open| now < open.since + LONG).map(|open| open.above);
        let from = recent.chain(self.overdue).min().unwrap_or(i64::MAX);
        let start = |(bucket, cursor): (&i16, &Cursor)| {
            let after = if sweep.contains(bucket) { 0 } else { cursor.read.min(from).max(cursor.mark) };
            Start { bucket: *bucket, after }
        };
        Plan {
            starts: self.cursors.iter().map(start).collect(),
            readings: self.cursors.values().map(|cursor| cursor.reading).collect(),
            from,
        }
    }

    /// Takes note of what a claim of `plan`, with at most `per_bucket` rows of each bucket, returned, and keeps of its rows those
    /// that may be sent: of buckets that were held throughout, and were not to be read anew meanwhile. `None`: a long transaction has ended before the claim, which may
    /// have missed its rows and must not be used.
    pub(crate) fn observe(
        &mut self,
        plan: &Plan,
        snapshot: &Snapshot,
        mut rows: Vec<Row>,
        per_bucket: usize,
        now: Instant,
    ) -> Option<Observed> {
        let ended = self.open.iter().filter(|(id, _)| !snapshot.has_open(**id)).map(|(_, open)| open.above);
        if let Some(lowest) = ended.min()
            && lowest < plan.from
        {
            self.overdue = Some(lowest);
            return None;
        }
        self.overdue = None;
        let (highest, next) = (self.highest, self.next);
        self.open.retain(|id, _| snapshot.has_open(*id));
        for id in &snapshot.open {
            // Begun after the last claim: its rows have ids that were not yet given out then.
            let above = if *id >= next { highest } else { 0 };
            self.open.entry(*id).or_insert(Open { above, since: now });
        }
        self.next = snapshot.next;
        let more = self.advance(plan, &mut rows, per_bucket);
        Some(Observed { rows, more })
    }

    fn advance(&mut self, plan: &Plan, rows: &mut Vec<Row>, per_bucket: usize) -> bool {
        let mut last: BTreeMap<i16, (i64, usize)> = BTreeMap::new();
        for row in rows.iter() {
            self.highest = self.highest.max(row.row_id.id);
            let (id, count) = last.entry(row.row_id.bucket).or_default();
            (*id, *count) = (row.row_id.id, *count + 1);
        }
        let mut more = false;
        let mut stale = Vec::new();
        for (start, reading) in plan.starts.iter().zip(&plan.readings) {
            let cursor = self.cursors.get_mut(&start.bucket).filter(|cursor| cursor.reading == *reading);
            let Some(cursor) = cursor else {
                stale.push(start.bucket);
                continue;
            };
            let (id, count) = last.get(&start.bucket).copied().unwrap_or_default();
            let full = count >= per_bucket;
            more |= full;
            // A full answer ends where the limit was reached, maybe below what was read before.
            cursor.read = if full { id } else { cursor.read.max(cursor.before).max(id) };
        }
        rows.retain(|row| !stale.contains(&row.row_id.bucket));
        more
    }
}

/// A claim that may be used.
#[derive(Debug)]
pub(crate) struct Observed {
    pub(crate) rows: Vec<Row>,
    /// Whether some bucket has more than was asked for.
    pub(crate) more: bool,
}

#[cfg(test)]
mod tests;
