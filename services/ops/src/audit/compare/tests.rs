//! Properties of the comparison: what was put in is found, and nothing else is.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use chrono::DateTime;
use contracts::event_id;
use proptest::prelude::*;
use uuid::Uuid;

use super::*;

fn stage() -> Stage {
    Stage::new("test", "orders", 3)
}

/// Orders with ids 0, 1, .. and that many events each.
fn orders(events: &[i64]) -> Orders {
    let order = |(n, events): (usize, &i64)| Order {
        id: Uuid::from_u128(n as u128),
        created_at: DateTime::UNIX_EPOCH,
        events: *events,
        revenue_cents: 100,
        lines: Lines::default(),
    };
    Orders::new(events.iter().enumerate().map(order).collect())
}

fn event(order: usize, sequence: i64) -> Event {
    Event { id: event_id(Uuid::from_u128(order as u128), sequence), sequence, minute: 0 }
}

fn findings(stage: &Stage) -> [u64; 3] {
    [stage.missing, stage.doubled, stage.out_of_order]
}

proptest! {
    /// Against the plain definition of each column, over any records in any order.
    #[test]
    fn the_topic_is_judged_by_first_occurrences_per_order(
        records in proptest::collection::vec((0usize..3, 1i64..6), 0..40),
    ) {
        let orders = orders(&[5, 5, 5]);
        let mut published = Published::new(stage(), &orders);
        let mut firsts: Vec<Vec<i64>> = vec![Vec::new(); 3];
        let (mut out_of_order, mut repeated) = (0, 0);
        for (order, sequence) in records {
            let first = !firsts[order].contains(&sequence);
            if first {
                out_of_order += u64::from(firsts[order].iter().any(|earlier| *earlier > sequence));
                firsts[order].push(sequence);
            } else {
                repeated += 1;
            }
            let seen = published.record(order, event(order, sequence));
            prop_assert_eq!(seen == Seen::First, first);
        }
        let Outcome { stage, fates, .. } = published.finish(&Backlog::default(), |_| false);
        let missing: usize = firsts.iter().map(|first| 5 - first.len()).sum();
        prop_assert_eq!(findings(&stage), [missing as u64, 0, out_of_order]);
        prop_assert_eq!((stage.checked, stage.repeated), (15, repeated));
        for (fate, first) in fates.iter().zip(&firsts) {
            prop_assert_eq!(*fate == Fate::Published, first.contains(&1));
        }
    }

    #[test]
    fn every_absent_effect_is_missing_and_every_further_one_doubled(
        counts in proptest::collection::vec(0u8..4, 0..50),
    ) {
        let orders = orders(&vec![1; counts.len()]);
        let mut once = Once::new(stage(), orders.len());
        for (position, count) in counts.iter().enumerate() {
            (0..*count).for_each(|_| once.effect(position));
        }
        let fates = vec![Fate::Published; counts.len()];
        let none = HashSet::new();
        let stage = once.finish(&orders, &Excuses { fates: &fates, behind: &none, dead: &none });
        let missing = counts.iter().filter(|count| **count == 0).count() as u64;
        let doubled = counts.iter().map(|count| u64::from(count.saturating_sub(1))).sum();
        prop_assert_eq!(findings(&stage), [missing, doubled, 0]);
    }

    #[test]
    fn the_checksum_of_lines_knows_products_and_pieces_and_not_their_order(
        lines in proptest::collection::vec((1i32..10, 1i64..10), 1..10),
        other in 1i32..10,
    ) {
        let sum = |lines: &mut dyn Iterator<Item = (i32, i64)>| {
            lines.fold(Lines::default(), |mut sum, (product, quantity)| {
                sum.add(product, quantity);
                sum
            })
        };
        let whole = sum(&mut lines.iter().copied());
        prop_assert_eq!(whole, sum(&mut lines.iter().rev().copied()));
        let mut merged = BTreeMap::new();
        lines.iter().for_each(|(product, quantity)| *merged.entry(*product).or_default() += *quantity);
        prop_assert_eq!(whole, sum(&mut merged.into_iter()));
        let (product, quantity) = lines[0];
        if other != product {
            let exchanged = [(other, quantity)].into_iter().chain(lines[1..].iter().copied());
            prop_assert_ne!(whole, sum(&mut exchanged.into_iter()));
        }
    }

    /// Whatever part of the late orders is counted, and however many were decided in a minute nobody knows.
    #[test]
    fn a_healthy_rollup_is_clean(
        accepted in proptest::collection::vec((0i64..5, any::<bool>()), 0..30),
        late in proptest::collection::vec((0i64..5, any::<bool>()), 0..10),
    ) {
        let (mut minutes, mut found) = (Minutes::new(stage(), -10..=20), BTreeMap::new());
        let mut count = |minute: i64| *found.entry(minute).or_default() += Figures::order(7);
        for (minute, known) in &accepted {
            count(*minute);
            if *known {
                minutes.order(*minute, Figures::order(7), Claim::Must);
            } else {
                minutes.order_about(minute + 1, Figures::order(7), Claim::Must);
            }
        }
        for (minute, counted) in &late {
            minutes.order(*minute, Figures::order(7), Claim::Late);
            if *counted {
                count(*minute);
            }
        }
        let stage = minutes.finish(&found);
        prop_assert_eq!(findings(&stage), [0, 0, 0], "{:?}", stage.examples);
        prop_assert_eq!(stage.checked, accepted.len() as u64);
    }

    #[test]
    fn a_quiet_rollup_finds_every_lost_and_every_doubled_order_exactly(
        counted in proptest::collection::vec((0i64..5, any::<bool>(), 0i64..3), 0..30),
    ) {
        let (mut minutes, mut found) = (Minutes::new(stage(), i64::MIN + 1..=i64::MAX), BTreeMap::new());
        let mut balance = BTreeMap::<i64, i64>::new();
        for (minute, known, times) in counted {
            if known {
                minutes.order(minute, Figures::order(7), Claim::Must);
            } else {
                minutes.order_about(minute, Figures::order(7), Claim::Must);
            }
            // With minutes unknown, only the total is exact.
            let bucket = if known { minute } else { 1000 };
            *balance.entry(bucket).or_default() += times - 1;
            (0..times).for_each(|_| *found.entry(minute).or_default() += Figures::order(7));
        }
        let all_known = !balance.contains_key(&1000);
        let total: i64 = balance.values().sum();
        let stage = minutes.finish(&found);
        if all_known {
            let missing: i64 = balance.values().map(|off| (-off).max(0)).sum();
            let doubled: i64 = balance.values().map(|off| (*off).max(0)).sum();
            prop_assert_eq!(findings(&stage), [missing as u64, doubled as u64, 0]);
        } else {
            prop_assert!(stage.missing >= (-total).max(0) as u64, "{:?}", stage);
            prop_assert!(stage.doubled >= total.max(0) as u64, "{:?}", stage);
        }
    }
}

#[test]
fn the_right_number_of_orders_with_the_wrong_revenue_is_a_finding() {
    for (revenue_cents, expected) in [(99, [1, 0, 0]), (100, [0, 0, 0]), (101, [0, 1, 0])] {
        let mut minutes = Minutes::new(stage(), 0..=9);
        minutes.order(5, Figures::order(100), Claim::Must);
        let found = BTreeMap::from([(5, Figures { orders: 1, revenue_cents })]);
        assert_eq!(findings(&minutes.finish(&found)), expected, "{revenue_cents}");
    }
}

#[test]
fn minutes_outside_the_window_are_left_alone() {
    let mut minutes = Minutes::new(stage(), 5..=9);
    minutes.order(4, Figures::order(100), Claim::Must);
    let found = BTreeMap::from([(10, Figures::order(100))]);
    assert_eq!(findings(&minutes.finish(&found)), [0, 0, 0]);
}

#[test]
fn an_order_that_may_wait_is_no_finding_counted_or_not_and_waits_only_while_it_is_not() {
    for (counted, waiting) in [(0, 1), (1, 0)] {
        let mut minutes = Minutes::new(stage(), 0..=9);
        minutes.order(5, Figures::order(100), Claim::Waits);
        let found = BTreeMap::from([(5, Figures { orders: counted, revenue_cents: counted * 100 })]);
        let stage = minutes.finish(&found);
        assert_eq!((findings(&stage), stage.waiting), ([0, 0, 0], waiting), "{counted} counted");
    }
}

#[test]
fn an_event_under_a_foreign_id_is_doubled_since_no_inbox_would_recognise_it() {
    let orders = orders(&[1]);
    let mut published = Published::new(stage(), &orders);
    published.record(0, event(0, 1));
    published.record(0, Event { id: Uuid::from_u128(99), ..event(0, 1) });
    let Outcome { stage, .. } = published.finish(&Backlog::default(), |_| false);
    assert_eq!((findings(&stage), stage.repeated), ([0, 1, 0], 0));
}

#[test]
fn an_event_beyond_the_accepted_ones_is_unknown_and_counts_only_if_nobody_accepted_it_since() {
    let orders = orders(&[1]);
    let mut published = Published::new(stage(), &orders);
    assert_eq!(published.record(0, event(0, 2)), Seen::Unknown);
    assert_eq!(published.record(0, event(0, 0)), Seen::Unknown);
    published.record(0, event(0, 1));
    published.phantom(Uuid::from_u128(0), 2);
    let Outcome { stage, .. } = published.finish(&Backlog::default(), |_| false);
    assert_eq!(findings(&stage), [0, 1, 0]);
}

#[test]
fn what_is_absent_is_told_by_where_it_is() {
    let orders = orders(&[1; 5]);
    let backlog = Backlog {
        waiting: BTreeSet::from([(0, 1), (1, 1)]),
        blocked: [(1, "too large".to_owned())].into(),
        skipped: [((2, 1), "by hand".to_owned())].into(),
    };
    let published = Published::new(stage(), &orders);
    let Outcome { stage, fates, minutes, missing } = published.finish(&backlog, |position| position == 3);
    assert_eq!(
        fates,
        [Fate::InOutbox, Fate::Blocked, Fate::Skipped, Fate::Published, Fate::Missing],
        "the fourth is out of sight"
    );
    assert_eq!((stage.missing, stage.waiting, stage.skipped, stage.out_of_sight), (1, 2, 1, 1));
    assert_eq!((minutes, missing), (vec![UNKNOWN; 5], vec![(4, 1)]));
}

#[test]
fn an_excuse_holds_for_an_effect_whose_event_waits_and_for_no_other() {
    let fates =
        [Fate::InOutbox, Fate::Blocked, Fate::Skipped, Fate::Published, Fate::Published, Fate::Missing];
    let (behind, dead) = (HashSet::from([3, 5]), HashSet::from([4]));
    let excuses = Excuses { fates: &fates, behind: &behind, dead: &dead };
    for (position, expected) in
        [Some(true), Some(true), Some(false), Some(true), Some(true), None, None].into_iter().enumerate()
    {
        let waits = excuses.of(position).map(|excuse| matches!(excuse, Excuse::Waiting(_)));
        assert_eq!(waits, expected, "order {position}");
    }
}

#[test]
fn a_part_of_an_orders_lines_is_missing_and_more_than_them_doubled_whatever_the_excuse() {
    let mut orders = orders(&[1, 1, 1]);
    for position in 0..3 {
        orders.get_mut(position).unwrap().lines.add(7, 2);
    }
    let mut reserved = Reserved::new(stage(), 3);
    reserved.line(0, 7, 1);
    reserved.line(1, 7, 3);
    reserved.line(2, 8, 2);
    let (fates, behind) = ([Fate::Published; 3], HashSet::from([0, 1, 2]));
    let stage = reserved.finish(&orders, &Excuses { fates: &fates, behind: &behind, dead: &HashSet::new() });
    assert_eq!((findings(&stage), stage.waiting), ([2, 1, 0], 0), "{:?}", stage.examples);
}

#[test]
fn stock_that_is_not_what_came_minus_what_was_reserved_is_a_finding() {
    let product = |on_hand| Stock { product_id: 1, on_hand, moved: 100, reserved: 30 };
    assert_eq!(findings(&stock(stage(), &[product(70)])), [0, 0, 0]);
    assert_eq!(findings(&stock(stage(), &[product(69)])), [0, 1, 0], "taken twice");
    assert_eq!(findings(&stock(stage(), &[product(71)])), [1, 0, 0], "reserved and not taken");
}

#[test]
fn sales_lie_between_what_must_and_what_may_be_counted() {
    let sums = |pieces| {
        let mut sums = ProductSums::default();
        sums.add(1, pieces, pieces * 10);
        sums
    };
    for (pieces, expected) in [(4, [1, 0, 0]), (5, [0, 0, 0]), (7, [0, 0, 0]), (8, [0, 1, 0])] {
        assert_eq!(findings(&sales(stage(), &sums(5), &sums(2), &sums(pieces))), expected, "{pieces}");
    }
    assert_eq!(
        findings(&sales(stage(), &ProductSums::default(), &ProductSums::default(), &sums(1))),
        [0, 1, 0]
    );
}

#[test]
fn examples_are_few_and_counts_are_not() {
    let mut stage = stage();
    for n in 0..10 {
        stage.add(Kind::Missing, 1, || (n.to_string(), String::new()));
        stage.add(Kind::Repeated, 1, || (n.to_string(), String::new()));
    }
    assert_eq!((stage.missing, stage.repeated, stage.examples.len()), (10, 10, 6));
}
