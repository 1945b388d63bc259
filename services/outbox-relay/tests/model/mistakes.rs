//! Known mistakes, put in one at a time: the checker must find what each of them breaks. This shows that the properties bite, and why the
//! protocol is as it is. The bounds are the smallest under which the mistake shows; the right protocol passes under larger ones.

use std::collections::BTreeSet;

use stateright::{Checker, HasDiscoveries, Model};

use crate::properties::{COMPLETE, IN_ORDER, NOTHING_LOST, OFFSET_LAST, ONCE};
use crate::protocol::{Mistake, Protocol};

#[test]
fn settling_what_was_claimed_loses_an_event_that_was_not_acknowledged() {
    finds(NOTHING_LOST, Mistake::SettleWhatWasClaimed, Bounds { keys: 1, events: 1, faults: 1 });
}

#[test]
fn two_rows_of_a_key_in_flight_swap_places() {
    finds(IN_ORDER, Mistake::TwoRowsOfAKeyInFlight, Bounds { keys: 1, events: 2, faults: 0 });
}

#[test]
fn claiming_by_cursor_never_sees_a_row_that_commits_after_one_with_a_higher_id() {
    finds(COMPLETE, Mistake::ClaimByCursor, Bounds { keys: 2, events: 1, faults: 0 });
}

#[test]
fn skip_locked_lets_one_relay_overtake_the_row_that_another_has_locked() {
    finds(IN_ORDER, Mistake::SkipLockedWithoutLeases, Bounds { keys: 1, events: 2, faults: 0 });
}

#[test]
fn an_identity_taken_before_the_lock_puts_a_later_commit_first() {
    finds(IN_ORDER, Mistake::IdentityBeforeLock, Bounds { keys: 1, events: 2, faults: 0 });
}

#[test]
fn an_offset_committed_before_the_effect_passes_an_unapplied_record() {
    finds(OFFSET_LAST, Mistake::OffsetBeforeEffect, Bounds { keys: 1, events: 1, faults: 0 });
}

#[test]
fn an_offset_committed_before_the_effect_loses_the_effect_in_a_crash() {
    finds(COMPLETE, Mistake::OffsetBeforeEffect, Bounds { keys: 1, events: 1, faults: 1 });
}

#[test]
fn an_inbox_row_written_after_the_effect_lets_a_crash_double_the_effect() {
    finds(ONCE, Mistake::InboxAfterEffect, Bounds { keys: 1, events: 1, faults: 1 });
}

#[test]
fn an_inbox_row_written_before_the_effect_lets_a_crash_lose_the_effect() {
    finds(COMPLETE, Mistake::InboxBeforeEffect, Bounds { keys: 1, events: 1, faults: 1 });
}

struct Bounds {
    keys: usize,
    events: u8,
    faults: u8,
}

/// Fails unless `mistake` breaks `property`; prints the shortest way there.
fn finds(property: &'static str, mistake: Mistake, Bounds { keys, events, faults }: Bounds) {
    let protocol = Protocol { keys, mistake: Some(mistake), ..Protocol::right(events, faults) };
    let checker =
        protocol.checker().finish_when(HasDiscoveries::AllOf(BTreeSet::from([property]))).spawn_bfs().join();
    let counterexample = checker.assert_any_discovery(property);
    println!("{mistake:?} breaks \"{property}\", {} states:", checker.unique_state_count());
    for action in counterexample.into_actions() {
        println!("  {action:?}");
    }
}
