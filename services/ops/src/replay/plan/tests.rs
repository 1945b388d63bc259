use std::collections::{BTreeMap, BTreeSet, HashMap};

use proptest::collection::vec;
use proptest::prelude::*;

use super::batches::{FETCH, FETCH_BYTES};
use super::*;
use crate::replay::place::LetterPlace;

const RULES: Rules = Rules { again: false, beyond_horizon: false, max_replays: 3, limit: None };

/// The letter at `0/n` of a key, about the record at source offset `source`.
fn letter(n: i64, key: &str, source: i64) -> Candidate {
    Candidate {
        place: LetterPlace { partition: 0, offset: n },
        key: key.as_bytes().to_vec(),
        source: (0, source),
        replays: 0,
        payload_bytes: 100,
        held: false,
        beyond_horizon: false,
        replayed: false,
        passes: true,
        excepted: false,
    }
}

fn held(n: i64, key: &str, source: i64) -> Candidate {
    Candidate { held: true, ..letter(n, key, source) }
}

fn select(rules: Rules, letters: &[Candidate]) -> Selection {
    let mut selector = Selector::new(rules);
    for letter in letters {
        selector.offer(letter.clone()).unwrap();
    }
    selector.select()
}

/// Places that are sent, in their order.
fn sent(selection: &Selection) -> Vec<i64> {
    selection.send.iter().map(|letter| letter.place.offset).collect()
}

#[test]
fn the_letters_of_a_key_go_in_the_order_of_their_source_and_not_of_their_place() {
    let selection =
        select(RULES, &[letter(0, "a", 30), letter(1, "a", 10), letter(2, "b", 5), letter(3, "a", 20)]);
    assert_eq!(sent(&selection), [2, 1, 3, 0]);
    assert_eq!(selection.left, Left::default());
}

#[test]
fn what_was_replayed_stays_unless_it_is_asked_for_again() {
    let letters = [Candidate { replayed: true, ..letter(0, "a", 1) }, letter(1, "b", 2)];
    let selection = select(RULES, &letters);
    assert_eq!((sent(&selection), selection.left), (vec![1], Left { replayed: 1, ..Left::default() }));
    assert_eq!(sent(&select(Rules { again: true, ..RULES }, &letters)), [0, 1]);
    // The filters come first: what they leave out is not counted as replayed.
    let filtered = Candidate { passes: false, ..letters[0].clone() };
    assert_eq!(select(RULES, &[filtered]).left, Left { filtered: 1, ..Left::default() });
}

#[test]
fn of_several_letters_about_one_record_the_last_one_counts_so_again_does_not_multiply_them() {
    let back = Candidate { replays: 1, ..letter(5, "a", 1) };
    let letters = [Candidate { replayed: true, ..letter(0, "a", 1) }, back, letter(1, "a", 2)];
    let selection = select(Rules { again: true, ..RULES }, &letters);
    assert_eq!((sent(&selection), selection.left), (vec![5, 1], Left { outdated: 1, ..Left::default() }));
    // A consumer that died between letter and commit wrote the same letter twice: both go, the inbox drops one.
    assert_eq!(sent(&select(RULES, &[letter(0, "a", 1), letter(1, "a", 1)])), [0, 1]);
}

#[test]
fn what_was_replayed_too_often_and_what_is_beyond_the_horizon_stays() {
    let circling = Candidate { replays: 3, ..letter(0, "a", 1) };
    let forgotten = Candidate { beyond_horizon: true, ..letter(1, "b", 2) };
    let letters = [circling, forgotten, letter(2, "a", 3)];
    let selection = select(RULES, &letters);
    assert_eq!(sent(&selection), [2]);
    assert_eq!(selection.left, Left { loop_guard: 1, beyond_horizon: 1, ..Left::default() });
    let allowed = Rules { beyond_horizon: true, max_replays: 4, ..RULES };
    assert_eq!(sent(&select(allowed, &letters)), [0, 1, 2]);
}

#[test]
fn a_held_key_goes_whole_though_the_filters_would_split_it() {
    let hidden = |letter: Candidate| Candidate { passes: false, ..letter };
    let letters =
        [hidden(held(0, "a", 30)), held(1, "a", 10), hidden(held(2, "b", 20)), hidden(letter(3, "c", 1))];
    let selection = select(RULES, &letters);
    assert_eq!((sent(&selection), selection.went_along), (vec![1, 0], 1));
    assert_eq!(selection.left, Left { filtered: 2, ..Left::default() });
    // What was sent before an interruption does not keep the rest of its key.
    let letters = [Candidate { replayed: true, ..held(1, "a", 10) }, held(0, "a", 30)];
    assert_eq!(sent(&select(RULES, &letters)), [0]);
}

#[test]
fn leave_to_go_beyond_the_horizon_is_given_to_no_letter_that_only_goes_along_with_its_key() {
    let named = Candidate { beyond_horizon: true, ..held(0, "a", 10) };
    let unnamed = Candidate { passes: false, ..named.clone() };
    let unnamed = Candidate { place: LetterPlace { partition: 0, offset: 1 }, source: (0, 20), ..unnamed };
    let along = Candidate { passes: false, ..held(2, "a", 30) };
    let allowed = Rules { beyond_horizon: true, ..RULES };

    let selection = select(allowed, &[named.clone(), unnamed.clone(), along.clone()]);
    assert_eq!(sent(&selection), [] as [i64; 0]);
    assert_eq!(selection.left, Left { beyond_horizon: 1, held: 2, ..Left::default() });

    let both_named = Candidate { passes: true, ..unnamed };
    assert_eq!(sent(&select(allowed, &[named, both_named, along])), [0, 1, 2]);
}

#[test]
fn a_later_letter_that_the_filters_hide_outdates_an_earlier_one_so_nothing_evades_the_loop_guard() {
    let first = letter(0, "a", 1);
    let last = Candidate { replays: 3, passes: false, ..letter(7, "a", 1) };
    let left = Left { outdated: 1, filtered: 1, ..Left::default() };
    for letters in [[first.clone(), last.clone()], [last.clone(), first.clone()]] {
        let selection = select(RULES, &letters);
        assert_eq!((sent(&selection), selection.left), (vec![], left));
    }
    // Nor does it matter that the last one was replayed.
    let last = Candidate { replayed: true, passes: true, ..last };
    let left = Left { outdated: 1, replayed: 1, ..Left::default() };
    assert_eq!(select(RULES, &[first, last]).left, left);
}

#[test]
fn an_excepted_letter_stays_and_the_rest_of_its_key_waits_for_it_if_the_key_is_held() {
    let excepted = |letter: Candidate| Candidate { passes: false, excepted: true, ..letter };
    let letters =
        [excepted(letter(0, "a", 1)), letter(1, "a", 2), excepted(held(2, "b", 3)), held(3, "b", 4)];
    let selection = select(RULES, &letters);
    assert_eq!(sent(&selection), [1]);
    assert_eq!(selection.left, Left { filtered: 2, held: 1, ..Left::default() });
}

#[test]
fn a_held_key_stays_whole_if_one_of_its_letters_has_to_stay() {
    let circling = Candidate { replays: 3, ..held(0, "a", 10) };
    let letters = [circling, held(1, "a", 20), held(2, "a", 30), held(3, "b", 40)];
    let selection = select(RULES, &letters);
    assert_eq!(sent(&selection), [3]);
    assert_eq!(selection.left, Left { loop_guard: 1, held: 2, ..Left::default() });
}

#[test]
fn a_limit_takes_the_first_letters_and_never_a_part_of_a_held_key() {
    let letters = [letter(0, "a", 1), held(1, "h", 2), held(2, "h", 3), letter(3, "b", 4), letter(4, "a", 5)];
    for (limit, expected) in
        [(1, vec![0]), (2, vec![0, 3]), (3, vec![0, 1, 2]), (4, vec![0, 1, 2, 3]), (9, vec![0, 1, 2, 3, 4])]
    {
        let selection = select(Rules { limit: Some(limit), ..RULES }, &letters);
        assert_eq!(sent(&selection), expected, "limit {limit}");
        assert_eq!(selection.left.limit, 5 - expected.len() as u64);
    }
}

#[test]
fn records_without_a_key_have_no_order_and_are_never_held() {
    let letters = [held(0, "", 1), Candidate { replays: 3, ..held(1, "", 2) }];
    let selection = select(RULES, &letters);
    assert_eq!(sent(&selection), [0]);
    assert_eq!(sent_together(&[letter(0, "", 1), letter(1, "", 2)], 10), 2);
}

fn some_letter() -> impl Strategy<Value = Candidate> {
    let flags = (
        prop::bool::weighted(0.2),
        prop::bool::weighted(0.1),
        prop::bool::weighted(0.3),
        prop::bool::weighted(0.7),
        prop::bool::weighted(0.1),
    );
    (0..6usize, 0..12i64, 0..5u32, 1..5_000_000usize, flags).prop_map(
        |(key, source, replays, payload_bytes, (held, beyond_horizon, replayed, passes, excepted))| {
            Candidate {
                source: (0, source * 6 + key as i64),
                replays,
                payload_bytes,
                held,
                beyond_horizon,
                replayed,
                passes: passes && !excepted,
                excepted,
                ..letter(0, ["", "a", "b", "c", "d", "e"][key], 0)
            }
        },
    )
}

fn letters() -> impl Strategy<Value = Vec<Candidate>> {
    vec(some_letter(), 0..60).prop_map(|mut letters| {
        for (letter, offset) in letters.iter_mut().zip(0..) {
            letter.place.offset = offset;
        }
        letters
    })
}

fn rules() -> impl Strategy<Value = Rules> {
    (any::<bool>(), any::<bool>(), 1..5u32, prop::option::of(1..40usize)).prop_map(
        |(again, beyond_horizon, max_replays, limit)| Rules { again, beyond_horizon, max_replays, limit },
    )
}

proptest! {
    #[test]
    fn every_letter_is_sent_once_or_counted_once_under_a_reason_to_stay(letters in letters(), rules in rules()) {
        let Selection { send, left, .. } = select(rules, &letters);
        let places: BTreeSet<_> = send.iter().map(|letter| letter.place).collect();
        prop_assert_eq!(places.len(), send.len());
        let Left { filtered, replayed, outdated, loop_guard, beyond_horizon, held, limit } = left;
        let stay = filtered + replayed + outdated + loop_guard + beyond_horizon + held + limit;
        prop_assert_eq!(send.len() as u64 + stay, letters.len() as u64);
    }

    #[test]
    fn nothing_is_sent_that_the_operator_has_not_allowed(letters in letters(), rules in rules()) {
        let selection = select(rules, &letters);
        prop_assert!(rules.limit.is_none_or(|limit| selection.send.len() <= limit));
        let held_keys: BTreeSet<_> =
            letters.iter().filter(|letter| letter.held && !letter.key.is_empty()).map(|letter| &letter.key).collect();
        for letter in &selection.send {
            prop_assert!(letter.replays < rules.max_replays);
            prop_assert!(!letter.beyond_horizon || (rules.beyond_horizon && letter.passes));
            prop_assert!(!letter.excepted);
            prop_assert!(rules.again || !letter.replayed);
            prop_assert!(letter.passes || held_keys.contains(&letter.key));
        }
        let along = selection.send.iter().filter(|letter| !letter.passes).count();
        prop_assert_eq!(selection.went_along, along as u64);
    }

    #[test]
    fn a_key_is_sent_in_the_order_of_its_source(letters in letters(), rules in rules()) {
        let mut last: HashMap<Vec<u8>, (i32, i64)> = HashMap::new();
        for letter in select(rules, &letters).send {
            let before = last.insert(letter.key, letter.source);
            prop_assert!(before.is_none_or(|before| before <= letter.source));
        }
    }

    #[test]
    fn what_waits_of_a_held_key_is_sent_together_or_not_at_all(mut letters in letters(), rules in rules()) {
        // Each about a record of its own: an outdated letter does not wait any more.
        for (letter, n) in letters.iter_mut().zip(0..) {
            letter.source = (0, n * 7 % 61);
        }
        let sent: BTreeSet<_> = select(rules, &letters).send.iter().map(|letter| letter.place).collect();
        let mut keys: BTreeMap<&[u8], Vec<&Candidate>> = BTreeMap::new();
        for letter in letters.iter().filter(|letter| !letter.key.is_empty() && !letter.replayed) {
            keys.entry(&letter.key).or_default().push(letter);
        }
        for letters in keys.values().filter(|letters| letters.iter().any(|letter| letter.held)) {
            let waiting = letters.iter().filter(|letter| letter.held || letter.passes);
            let (all, together) =
                (waiting.clone().count(), waiting.filter(|letter| sent.contains(&letter.place)).count());
            prop_assert!(together == 0 || together == all, "{together} of {all}");
        }
    }

    #[test]
    fn batches_make_progress_fit_in_memory_and_have_no_key_twice(letters in letters(), most in 1..20usize) {
        let mut rest = letters.as_slice();
        while !rest.is_empty() {
            let (chunk, later) = rest.split_at(fetched_together(rest));
            rest = later;
            let bytes: usize = chunk.iter().map(|letter| letter.payload_bytes).sum();
            prop_assert!(chunk.len() == 1 || (chunk.len() <= FETCH && bytes <= FETCH_BYTES));
            let mut chunk = chunk;
            while !chunk.is_empty() {
                let (batch, others) = chunk.split_at(sent_together(chunk, most));
                chunk = others;
                prop_assert!((1..=most).contains(&batch.len()));
                let keyed: Vec<_> = batch.iter().map(|letter| &letter.key).filter(|key| !key.is_empty()).collect();
                prop_assert_eq!(keyed.iter().collect::<BTreeSet<_>>().len(), keyed.len());
            }
        }
    }
}

#[test]
fn a_letter_larger_than_what_is_fetched_together_goes_alone() {
    let large = Candidate { payload_bytes: FETCH_BYTES + 1, ..letter(0, "a", 1) };
    assert_eq!(fetched_together(&[large.clone(), letter(1, "b", 2)]), 1);
    assert_eq!(fetched_together(&[letter(1, "b", 2), large]), 1);
    assert_eq!(fetched_together(&[]), 0);
}
