use chrono::DateTime;
use persistence::outbox::RowId;
use proptest::prelude::*;
use uuid::Uuid;

use super::*;

const BUCKET: i16 = 7;
const NONE: BTreeSet<i16> = BTreeSet::new();

fn row(id: i64) -> Row {
    Row {
        row_id: RowId { bucket: BUCKET, id },
        topic: "things".into(),
        aggregate_id: Uuid::nil(),
        sequence: id,
        event_id: Uuid::nil(),
        event_type: "ThingHappened".into(),
        source: "/tests".into(),
        traceparent: None,
        created_at: DateTime::UNIX_EPOCH,
        payload: "{}".into(),
    }
}

fn snapshot(next: u64, open: &[u64]) -> Snapshot {
    Snapshot { next, open: open.to_vec() }
}

fn start(plan: &Plan) -> i64 {
    plan.starts[0].after
}

/// A horizon whose first claim saw rows 1 to 10 and transaction 5 in progress.
fn read_to_ten(now: Instant) -> Horizon {
    let mut horizon = Horizon::default();
    horizon.add(BUCKET, 0);
    let plan = horizon.plan(now, &[BUCKET].into());
    let observed = horizon.observe(&plan, &snapshot(6, &[5]), (1..=10).map(row).collect(), 100, now);
    assert_eq!(observed.unwrap().rows.len(), 10);
    horizon
}

#[test]
fn while_a_transaction_is_young_its_rows_are_looked_for_and_then_only_when_it_has_ended() {
    let now = Instant::now();
    let mut horizon = read_to_ten(now);
    assert_eq!(start(&horizon.plan(now, &NONE)), 0);
    let later = now + LONG;
    let plan = horizon.plan(later, &NONE);
    assert_eq!(start(&plan), 10, "what died since the long transaction began is not read again");
    assert!(horizon.observe(&plan, &snapshot(9, &[5]), vec![row(12)], 100, later).is_some());

    let plan = horizon.plan(later, &NONE);
    assert_eq!(start(&plan), 12);
    let behind = horizon.observe(&plan, &snapshot(12, &[]), vec![row(14)], 100, later);
    assert!(behind.is_none(), "row 11 may be of transaction 5, and row 14 of the same key");
    let plan = horizon.plan(later, &NONE);
    assert_eq!(start(&plan), 0);
    assert!(horizon.observe(&plan, &snapshot(13, &[]), vec![row(11), row(14)], 100, later).is_some());
    assert_eq!(start(&horizon.plan(later, &NONE)), 14);
}

#[test]
fn who_takes_over_begins_below_what_a_transaction_in_progress_can_bring_and_reads_no_dead_rows() {
    let now = Instant::now();
    let mut horizon = read_to_ten(now);
    assert_eq!(horizon.marks()[&BUCKET], 0, "transaction 5 may bring row 1");
    let plan = horizon.plan(now, &NONE);
    horizon.observe(&plan, &snapshot(9, &[8]), vec![row(11)], 100, now).unwrap();
    let plan = horizon.plan(now, &NONE);
    horizon.observe(&plan, &snapshot(12, &[8]), vec![row(12), row(13)], 100, now).unwrap();
    assert_eq!(horizon.marks()[&BUCKET], 10, "transaction 8 began after row 10 was seen");

    let mut next = Horizon::default();
    next.add(BUCKET, 10);
    let plan = next.plan(now, &NONE);
    assert_eq!(start(&plan), 10);
    next.observe(&plan, &snapshot(12, &[8]), vec![], 100, now).unwrap();
    assert_eq!(start(&next.plan(now, &NONE)), 10, "not lower, though transaction 8 is new to it");
    assert_eq!(start(&next.plan(now, &[BUCKET].into())), 0, "but for a sweep");
}

#[test]
fn rows_of_a_bucket_that_was_lost_and_won_again_meanwhile_are_not_used() {
    let now = Instant::now();
    let mut horizon = read_to_ten(now);
    let plan = horizon.plan(now, &NONE);
    horizon.remove(BUCKET);
    horizon.add(BUCKET, 0);
    let observed = horizon.observe(&plan, &snapshot(9, &[]), vec![row(11)], 100, now).unwrap();
    assert!(observed.rows.is_empty());
    assert_eq!(start(&horizon.plan(now + LONG, &NONE)), 0);
}

#[test]
fn a_bucket_that_is_read_anew_is_read_from_its_beginning_and_has_no_mark_until_nothing_is_left_behind() {
    let now = Instant::now();
    let mut horizon = read_to_ten(now);
    let late = horizon.plan(now + LONG, &NONE);
    horizon.read_anew(BUCKET);
    let observed = horizon.observe(&late, &snapshot(9, &[]), vec![row(12)], 100, now + LONG);
    assert!(
        observed.is_none_or(|observed| observed.rows.is_empty()),
        "an older row of its key may be to be had again"
    );

    let mut horizon = Horizon::default();
    horizon.add(BUCKET, 10);
    horizon.observe(&horizon.plan(now, &NONE), &snapshot(9, &[]), vec![row(20)], 100, now).unwrap();
    horizon.read_all_anew();
    assert_eq!((start(&horizon.plan(now, &NONE)), horizon.marks()[&BUCKET]), (0, 0));
    horizon.observe(&horizon.plan(now, &NONE), &snapshot(9, &[]), vec![row(3), row(4)], 2, now).unwrap();
    assert_eq!((start(&horizon.plan(now, &NONE)), horizon.marks()[&BUCKET]), (4, 4));
    horizon.observe(&horizon.plan(now, &NONE), &snapshot(9, &[]), vec![row(5)], 2, now).unwrap();
    assert_eq!(start(&horizon.plan(now, &NONE)), 20, "what is dead is not read again and again");
    assert_eq!(horizon.marks()[&BUCKET], 20);
}

/// Transactions that lock a key's row, take an id, and commit or are rolled back after any time.
#[derive(Clone, Debug)]
enum Event {
    /// A transaction begins and inserts a row of this key, unless another holds the key.
    Insert(u8),
    Commit(u8),
    RollBack(u8),
    /// A claim with at most so many rows, and a sweep if told so.
    Claim(usize, bool),
    /// Time passes: what is in progress becomes long.
    Wait,
    /// Another relay takes over, from the mark.
    TakeOver,
    /// Everything is to be read anew.
    Anew,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (0..6u8).prop_map(Event::Insert),
        6 => (0..6u8).prop_map(Event::Commit),
        1 => (0..6u8).prop_map(Event::RollBack),
        5 => ((1..4usize), prop::bool::weighted(0.1)).prop_map(|(limit, sweep)| Event::Claim(limit, sweep)),
        3 => Just(Event::Wait),
        1 => Just(Event::TakeOver),
        1 => Just(Event::Anew),
    ]
}

proptest! {
    #[test]
    fn rows_of_a_key_are_claimed_in_commit_order_and_without_any_sweep_none_is_missed(
        events in prop::collection::vec(event(), 0..150)
    ) {
        let mut now = Instant::now();
        let (mut horizon, mut ids, mut next) = (Horizon::default(), 0i64, 1u64);
        let mut open: BTreeMap<u8, (u64, i64)> = BTreeMap::new();
        let mut table: BTreeMap<i64, u8> = BTreeMap::new();
        let mut claimed: BTreeSet<i64> = BTreeSet::new();
        horizon.add(BUCKET, 0);
        let end = (0..6).map(Event::Commit).chain([Event::Wait]).chain((0..200).map(|_| Event::Claim(3, false)));
        for event in events.into_iter().chain(end) {
            match event {
                Event::Insert(key) => {
                    open.entry(key).or_insert_with(|| {
                        (ids, next) = (ids + 1, next + 1);
                        (next - 1, ids)
                    });
                }
                Event::Commit(key) => {
                    if let Some((_, id)) = open.remove(&key) {
                        table.insert(id, key);
                    }
                }
                Event::RollBack(key) => drop(open.remove(&key)),
                Event::Wait => now += LONG,
                Event::Anew => horizon.read_all_anew(),
                Event::TakeOver => {
                    // What was claimed counts as settled here.
                    let mark = horizon.marks()[&BUCKET];
                    horizon = Horizon::default();
                    horizon.add(BUCKET, mark);
                }
                Event::Claim(limit, sweep) => {
                    let swept = if sweep { BTreeSet::from([BUCKET]) } else { NONE };
                    let plan = horizon.plan(now, &swept);
                    let visible = table.keys().filter(|id| **id > start(&plan) && !claimed.contains(id));
                    let rows: Vec<Row> = visible.take(limit).map(|id| row(*id)).collect();
                    let mut transactions: Vec<u64> = open.values().map(|(transaction, _)| *transaction).collect();
                    transactions.sort_unstable();
                    let seen = snapshot(next, &transactions);
                    if let Some(observed) = horizon.observe(&plan, &seen, rows, limit, now) {
                        for row in observed.rows {
                            let id = row.row_id.id;
                            let older = table.iter().find(|(older, key)| {
                                **older < id && **key == table[&id] && !claimed.contains(older)
                            });
                            prop_assert_eq!(older, None, "claimed before an older row of its key: {}", id);
                            claimed.insert(id);
                        }
                    }
                }
            }
        }
        prop_assert_eq!(claimed, table.keys().copied().collect::<BTreeSet<i64>>());
    }
}
