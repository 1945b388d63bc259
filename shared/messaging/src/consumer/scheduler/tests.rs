use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::consumer::job::Outcome;

const SECOND: Duration = Duration::from_secs(1);

fn rules(runs: usize, run_records: usize) -> Rules {
    let retry = RetrySettings { retry_max_attempts: 3, retry_base: SECOND, retry_cap: 4 * SECOND };
    Rules {
        retry,
        runs,
        run_records,
        run_bytes: 1 << 20,
        high: 40,
        low: 10,
        held_bytes: 1 << 20,
        window: 64,
        dead_letters_per_minute: 1_000_000,
    }
}

fn record(partition: i32, offset: i64, key: &str) -> Record {
    let topic = "things".into();
    Record { topic, partition, offset, key: Some(key.into()), payload: Some(vec![0; 10]), headers: None }
}

fn with_records(rules: Rules, keys: &[&str]) -> Scheduler {
    let mut scheduler = Scheduler::new(rules);
    scheduler.assign("things", 0);
    for (offset, key) in keys.iter().enumerate() {
        scheduler.admit(record(0, offset as i64, key));
    }
    scheduler
}

fn start(scheduler: &mut Scheduler, now: Instant) -> Option<Run> {
    scheduler.start(now, CancellationToken::new)
}

fn offsets(run: &Run) -> Vec<i64> {
    run.jobs.iter().map(|job| job.record.offset).collect()
}

fn all(run: &Run, outcome: Outcome) -> Vec<Outcome> {
    vec![outcome; run.jobs.len()]
}

fn frontier(scheduler: &Scheduler) -> Option<i64> {
    scheduler.partitions.values().next().unwrap().ledger.frontier()
}

#[test]
fn keys_run_side_by_side_and_records_of_one_key_one_after_another() {
    let (mut scheduler, now) = (with_records(rules(10, 1), &["a", "a", "b", "", ""]), Instant::now());
    let runs: Vec<Run> = std::iter::from_fn(|| start(&mut scheduler, now)).collect();
    assert_eq!(runs.iter().flat_map(offsets).collect::<Vec<_>>(), [0, 2, 3, 4]);
    for run in runs {
        let outcomes = all(&run, Outcome::Done);
        scheduler.settle(run, outcomes, now);
    }
    assert_eq!(
        (start(&mut scheduler, now).map(|run| offsets(&run)), frontier(&scheduler)),
        (Some(vec![1]), Some(1))
    );
}

#[test]
fn a_batch_takes_what_is_there_and_a_record_that_failed_holds_its_key_only() {
    let (mut scheduler, mut now) = (with_records(rules(1, 100), &["a", "b", "a", "a", "b"]), Instant::now());
    let run = start(&mut scheduler, now).unwrap();
    assert_eq!(offsets(&run), [0, 2, 3, 1, 4], "followers stand behind the first of their key");
    let outcomes =
        vec![Outcome::Done, Outcome::Retry("no".into()), Outcome::Untouched, Outcome::Done, Outcome::Done];
    scheduler.settle(run, outcomes, now);
    assert!(start(&mut scheduler, now).is_none(), "what is left waits for the backoff");
    assert_eq!(frontier(&scheduler), Some(2));
    now += SECOND;
    assert_eq!(offsets(&start(&mut scheduler, now).unwrap()), [2, 3]);
}

#[test]
fn a_record_that_failed_for_good_behind_one_that_follows_its_key_to_dead_letters_is_not_asked_again() {
    let (mut scheduler, now) = (with_records(rules(1, 100), &["a", "a", "a"]), Instant::now());
    let run = start(&mut scheduler, now).unwrap();
    scheduler.settle(run, vec![Outcome::Behind, Outcome::Poison("no".into()), Outcome::Untouched], now);
    for letter in [0, 1] {
        let burial = start(&mut scheduler, now).unwrap();
        assert_eq!((offsets(&burial), burial.pass.is_none()), (vec![letter], true));
        scheduler.settle(burial, vec![Outcome::Buried], now);
    }
    let rest = start(&mut scheduler, now).unwrap();
    assert_eq!((offsets(&rest), rest.pass.is_some()), (vec![2], true));
}

#[test]
fn a_record_in_backoff_holds_no_slot() {
    let (mut scheduler, now) = (with_records(rules(1, 1), &["a", "b"]), Instant::now());
    let run = start(&mut scheduler, now).unwrap();
    scheduler.settle(run, vec![Outcome::Retry("no".into())], now);
    assert_eq!(offsets(&start(&mut scheduler, now).unwrap()), [1]);
}

#[test]
fn a_late_report_of_an_old_assignment_does_not_move_the_frontier_of_the_new_one() {
    let (mut scheduler, now) = (with_records(rules(10, 1), &["a", "b"]), Instant::now());
    let old = start(&mut scheduler, now).unwrap();
    let closed = scheduler.close(|_, _| true);
    assert_eq!(scheduler.running(&closed), 1);
    scheduler.forget(&closed);

    scheduler.assign("things", 0);
    scheduler.admit(record(0, 0, "a"));
    scheduler.settle(old, vec![Outcome::Done], now);
    assert_eq!(frontier(&scheduler), Some(0));
    assert_eq!(offsets(&start(&mut scheduler, now).unwrap()), [0]);
}

#[test]
fn while_partitions_are_given_up_running_records_still_count_and_nothing_new_begins() {
    let (mut scheduler, now) = (with_records(rules(1, 1), &["a", "b", "c"]), Instant::now());
    let run = start(&mut scheduler, now).unwrap();
    let closed = scheduler.close(|_, _| true);
    assert!(start(&mut scheduler, now).is_none());
    assert!(!scheduler.admit(record(0, 3, "d")));
    scheduler.settle(run, vec![Outcome::Done], now);
    assert_eq!(scheduler.running(&closed), 0);
    assert_eq!(scheduler.forget(&closed), vec![(Arc::<str>::from("things"), 0, 1)]);
    assert_eq!(scheduler.bytes, 0);
}

#[test]
fn only_the_runs_of_lost_partitions_are_cut_off() {
    let (mut scheduler, now) = (with_records(rules(10, 1), &["a"]), Instant::now());
    scheduler.assign("things", 1);
    scheduler.admit(record(1, 0, "a"));
    let runs: Vec<Run> = std::iter::from_fn(|| start(&mut scheduler, now)).collect();
    let closed = scheduler.close(|_, number| number == 1);
    scheduler.cut_off(&closed);
    assert_eq!(runs.iter().map(|run| run.cut_off.is_cancelled()).collect::<Vec<_>>(), [false, true]);
}

#[test]
fn fetching_pauses_at_the_high_mark_and_goes_on_at_the_low_one() {
    let (mut scheduler, now) = (with_records(rules(1, 1), &[]), Instant::now());
    let paused: Vec<i64> = (0..45).filter(|offset| scheduler.admit(record(0, *offset, ""))).collect();
    assert_eq!(paused, [39], "once, and what still arrives is taken in");
    for left in (0..45).rev() {
        assert!(scheduler.resumable().is_empty() || left < 10, "{left} left");
        let run = start(&mut scheduler, now).unwrap();
        scheduler.settle(run, vec![Outcome::Done], now);
    }
    assert!(!scheduler.any_paused());
    assert_eq!((frontier(&scheduler), scheduler.bytes), (Some(45), 0));
}

#[test]
fn a_partition_is_paused_when_a_record_lies_beyond_the_window_of_its_oldest_unfinished_one() {
    let (mut scheduler, now) = (with_records(rules(2, 1), &["a"]), Instant::now());
    let oldest = start(&mut scheduler, now).unwrap();
    assert!(!scheduler.admit(record(0, 63, "b")));
    assert!(scheduler.admit(record(0, 64, "c")));
    assert!(!scheduler.admit(record(0, 5_000, "d")));
    scheduler.settle(oldest, vec![Outcome::Done], now);
    let next = start(&mut scheduler, now).unwrap();
    let after = start(&mut scheduler, now).unwrap();
    assert_eq!([offsets(&next), offsets(&after)], [[63], [64]]);
    for run in [next, after] {
        scheduler.settle(run, vec![Outcome::Done], now);
    }
    assert_eq!(offsets(&start(&mut scheduler, now).unwrap()), [5_000]);
}

#[test]
fn while_a_dependency_is_away_one_record_at_a_time_probes_and_none_loses_an_attempt() {
    let keys: Vec<String> = (0..30).map(|n| n.to_string()).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let (mut scheduler, mut now) = (with_records(rules(20, 1), &keys), Instant::now());
    let runs: Vec<Run> = std::iter::from_fn(|| start(&mut scheduler, now)).collect();
    assert_eq!(runs.len(), 20);
    for run in runs {
        scheduler.settle(run, vec![Outcome::Unavailable("away".into())], now);
    }
    let mut probed = BTreeSet::new();
    for _ in 0..30 {
        assert!(start(&mut scheduler, now).is_none());
        now += 4 * SECOND;
        let probe = start(&mut scheduler, now).unwrap();
        assert!(start(&mut scheduler, now).is_none(), "one probe at a time");
        probed.extend(offsets(&probe));
        scheduler.settle(probe, vec![Outcome::Unavailable("away".into())], now);
    }
    assert_eq!(probed.len(), 30, "a record that fails for itself cannot keep the others waiting");
    assert!(scheduler.ready.iter().all(|job| job.failures == 0));
}

#[test]
fn beyond_the_rate_of_dead_letters_everything_pauses_and_nothing_is_lost() {
    let mut rules = rules(1, 1);
    rules.dead_letters_per_minute = 2;
    let (mut scheduler, now) = (with_records(rules, &["a", "b", "c", "d"]), Instant::now());
    let mut reasons = Vec::new();
    while let Some(run) = start(&mut scheduler, now) {
        let outcome = if run.pass.is_some() { Outcome::Poison("bad".into()) } else { Outcome::Buried };
        reasons.extend(scheduler.settle(run, vec![outcome], now).too_many_letters);
    }
    assert_eq!(reasons, ["more than 2 dead letters in a minute, the next one would be: bad"]);
    assert_eq!(frontier(&scheduler), Some(2));

    scheduler.set_paused(false);
    while let Some(run) = start(&mut scheduler, now) {
        scheduler.settle(run, vec![Outcome::Done], now);
    }
    assert_eq!(frontier(&scheduler), Some(4), "they were asked again");
}

#[test]
fn records_that_cannot_be_read_do_not_count_as_too_many_dead_letters() {
    let mut rules = rules(1, 1);
    rules.dead_letters_per_minute = 1;
    let (mut scheduler, now) = (with_records(rules, &["a", "b", "c", "d"]), Instant::now());
    while let Some(run) = start(&mut scheduler, now) {
        let outcome = if run.pass.is_some() { Outcome::Undecodable("?".into()) } else { Outcome::Buried };
        scheduler.settle(run, vec![outcome], now);
    }
    assert_eq!(frontier(&scheduler), Some(4));
}

#[test]
fn a_dead_letter_that_is_not_taken_counts_as_unburied_until_it_is_taken_or_its_partition_is_given_up() {
    let (mut scheduler, mut now) = (with_records(rules(1, 2), &["a", "b"]), Instant::now());
    let run = start(&mut scheduler, now).unwrap();
    let poison = all(&run, Outcome::Poison("bad".into()));
    scheduler.settle(run, poison, now);
    for _ in 0..3 {
        let burial = start(&mut scheduler, now).unwrap();
        let refused = all(&burial, Outcome::Unburied("too large".into()));
        assert_eq!(scheduler.settle(burial, refused, now).unburied.as_deref(), Some("too large"));
        assert_eq!(scheduler.unburied(), 2);
        now += 5 * SECOND;
    }
    let burial = start(&mut scheduler, now).unwrap();
    scheduler.settle(burial, vec![Outcome::Buried, Outcome::Unburied("too large".into())], now);
    assert_eq!(scheduler.unburied(), 1);
    let closed = scheduler.close(|_, _| true);
    scheduler.forget(&closed);
    assert_eq!(scheduler.unburied(), 0);
}

#[test]
fn only_a_record_in_the_handler_can_be_stuck() {
    let (mut scheduler, now) = (with_records(rules(10, 1), &["a", "b"]), Instant::now());
    let first = start(&mut scheduler, now).unwrap();
    let second = start(&mut scheduler, now + SECOND).unwrap();
    assert_eq!(scheduler.oldest_run(), Some(now));
    scheduler.settle(first, vec![Outcome::Retry("no".into())], now);
    assert_eq!(scheduler.oldest_run(), Some(now + SECOND));
    scheduler.settle(second, vec![Outcome::Unavailable("away".into())], now);
    assert_eq!(scheduler.oldest_run(), None);
}

#[derive(Clone, Debug)]
enum Step {
    /// The next record of a partition, after a gap, of one of a few keys.
    Admit {
        partition: i32,
        gap: i64,
        key: u8,
    },
    Start,
    /// One of the runs ends; one outcome for each record.
    Settle(prop::sample::Index, Vec<u8>),
    Wait(u64),
    /// A partition goes and comes back.
    Reassign(i32),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (0..2i32, prop_oneof![4 => Just(0i64), 1 => 1..90i64], 0..5u8)
            .prop_map(|(partition, gap, key)| Step::Admit { partition, gap, key }),
        5 => Just(Step::Start),
        5 => (any::<prop::sample::Index>(), proptest::collection::vec(0..12u8, 8))
            .prop_map(|(index, outcomes)| Step::Settle(index, outcomes)),
        2 => (0..5u64).prop_map(Step::Wait),
        1 => (0..2i32).prop_map(Step::Reassign),
    ];
    proptest::collection::vec(step, 1..200)
}

/// What a worker may say: within a key, nothing is touched after a record that did not succeed.
fn outcomes(run: &Run, choices: &[u8]) -> Vec<Outcome> {
    let mut held = BTreeSet::new();
    let choose = |(job, choice): (&Job, &u8)| {
        if run.pass.is_none() {
            return if *choice < 9 { Outcome::Buried } else { Outcome::Unburied("away".into()) };
        }
        if held.contains(&job.lane) && job.lane.is_some() {
            return Outcome::Untouched;
        }
        let outcome = match choice {
            0..5 => Outcome::Done,
            5 => Outcome::Skipped,
            6 => Outcome::Poison("poison".into()),
            7 => Outcome::Undecodable("garbage".into()),
            8 | 9 => Outcome::Retry("retry".into()),
            10 => Outcome::Unavailable("away".into()),
            _ => Outcome::Untouched,
        };
        if !matches!(outcome, Outcome::Done | Outcome::Skipped) {
            held.insert(job.lane);
        }
        outcome
    };
    run.jobs.iter().zip(choices.iter().cycle()).map(choose).collect()
}

/// Follows the scheduler from outside.
#[derive(Default)]
struct Watch {
    /// Unfinished records of the current assignments, by partition.
    open: BTreeMap<i32, BTreeSet<i64>>,
    next: BTreeMap<i32, i64>,
    /// The newest finished record of a key under the current assignment.
    finished: BTreeMap<(i32, Vec<u8>), i64>,
    epochs: BTreeMap<i32, u64>,
}

impl Watch {
    fn settle(&mut self, run: &Run, outcomes: &[Outcome]) -> Result<(), TestCaseError> {
        for (job, outcome) in run.jobs.iter().zip(outcomes) {
            let finished = matches!(outcome, Outcome::Done | Outcome::Skipped | Outcome::Buried);
            let partition = job.record.partition;
            if finished && self.epochs[&partition] == job.epoch {
                prop_assert!(self.open.get_mut(&partition).unwrap().remove(&job.record.offset));
                let last = self.finished.insert((partition, job.record.key().to_vec()), job.record.offset);
                let in_order =
                    job.record.key().is_empty() || last.is_none_or(|last| last < job.record.offset);
                prop_assert!(in_order, "{:?} after {last:?}", job.record);
            }
        }
        Ok(())
    }

    fn check(&self, scheduler: &Scheduler) -> Result<(), TestCaseError> {
        for (epoch, partition) in &scheduler.partitions {
            prop_assert_eq!(self.epochs[&partition.number], *epoch);
            let open = &self.open[&partition.number];
            prop_assert_eq!(partition.held, open.len());
            if let (Some(frontier), Some(oldest)) = (partition.ledger.frontier(), open.first()) {
                prop_assert!(frontier <= *oldest, "{frontier} is past {oldest}");
            }
        }
        Ok(())
    }
}

proptest! {
    #[test]
    fn whatever_happens_keys_stay_in_order_the_frontier_passes_nothing_and_all_is_finished_in_the_end(
        steps in steps(), runs in 1..6usize, run_records in 1..8usize,
    ) {
        let mut scheduler = Scheduler::new(rules(runs, run_records));
        let (mut watch, mut now, mut out) = (Watch::default(), Instant::now(), Vec::<Run>::new());
        for number in 0..2 {
            scheduler.assign("things", number);
            watch.open.insert(number, BTreeSet::new());
            watch.epochs.insert(number, scheduler.epochs);
        }
        for step in steps {
            match step {
                Step::Admit { partition, gap, key } => {
                    let next = watch.next.entry(partition).or_default();
                    let offset = *next + gap;
                    *next = offset + 1;
                    watch.open.get_mut(&partition).unwrap().insert(offset);
                    let key = if key == 0 { String::new() } else { key.to_string() };
                    scheduler.admit(record(partition, offset, &key));
                }
                Step::Start => out.extend(start(&mut scheduler, now)),
                Step::Settle(index, choices) if !out.is_empty() => {
                    let run = out.remove(index.index(out.len()));
                    let outcomes = outcomes(&run, &choices);
                    watch.settle(&run, &outcomes)?;
                    scheduler.settle(run, outcomes, now);
                }
                Step::Settle(..) => {}
                Step::Wait(seconds) => now += Duration::from_secs(seconds),
                Step::Reassign(number) => {
                    let closed = scheduler.close(|_, partition| partition == number);
                    let positions = scheduler.forget(&closed);
                    // The next assignment starts where this one came to.
                    let restart = positions.first().map_or(0, |(_, _, offset)| *offset);
                    scheduler.assign("things", number);
                    watch.epochs.insert(number, scheduler.epochs);
                    watch.finished.retain(|(partition, _), _| *partition != number);
                    watch.open.insert(number, BTreeSet::new());
                    watch.next.insert(number, restart);
                }
            }
            watch.check(&scheduler)?;
            prop_assert!(scheduler.runs.len() <= runs);
        }
        for _ in 0..100_000 {
            now += 5 * SECOND;
            out.extend(start(&mut scheduler, now));
            let Some(run) = out.pop() else { break };
            let outcome = if run.pass.is_some() { Outcome::Done } else { Outcome::Buried };
            let outcomes = all(&run, outcome);
            watch.settle(&run, &outcomes)?;
            scheduler.settle(run, outcomes, now);
            watch.check(&scheduler)?;
        }
        prop_assert!(watch.open.values().all(BTreeSet::is_empty), "left over: {:?}", watch.open);
        prop_assert_eq!((scheduler.bytes, scheduler.handling, scheduler.runs.len()), (0, 0, 0));
        prop_assert_eq!(scheduler.unburied(), 0);
        let held = scheduler.partitions.values().map(|p| p.held + p.bytes + p.running).sum::<usize>();
        prop_assert_eq!(held, 0);
    }
}
