//! Keys whose order goes on beyond a dead letter.

use std::collections::HashSet;
use std::fmt::Debug;

use futures::future::BoxFuture;

use super::dead_letter::Origin;
use super::job::{Job, Outcome};

/// A record by where it first stood, also when it comes from the retry topic.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SourceRecord {
    /// Topic.
    pub topic: String,
    /// Key; never empty.
    pub key: Vec<u8>,
    /// Offset. All records of a key stand in one partition, so this is their order.
    pub offset: i64,
}

/// Where a record stands among the held ones of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// None is held.
    Free,
    /// None before it is held; perhaps it is itself.
    First,
    /// An earlier one is held.
    Behind,
}

/// Records that could not be applied and those that came behind them, kept where the whole group sees them: in the consumer's
/// database.
///
/// A record may be applied only if no earlier one of its key is held. One that fails for good, or that comes behind a held one, is
/// held first and then becomes a dead letter; once it is applied, it is released. So a key is held as long as one of its records
/// lies in dead letters, and the order of their return decides nothing: whoever comes too early goes back.
///
/// Errors count as a dependency that is away. The calls have to end by themselves, and may come twice.
pub trait HeldKeys: Debug + Send + Sync + 'static {
    /// One place for each record.
    fn places<'a>(&'a self, records: &'a [SourceRecord]) -> BoxFuture<'a, Result<Vec<Place>, String>>;
    /// Holds the records.
    fn hold<'a>(&'a self, records: &'a [SourceRecord]) -> BoxFuture<'a, Result<(), String>>;
    /// They are applied, or nothing for this consumer.
    fn release<'a>(&'a self, records: &'a [SourceRecord]) -> BoxFuture<'a, Result<(), String>>;
}

/// The place of each job. Records without a key are free: they have no order.
pub(super) async fn places(held: &dyn HeldKeys, jobs: &[Job], group: &str) -> Result<Vec<Place>, String> {
    let keyed: Vec<Option<SourceRecord>> = jobs.iter().map(|job| source(job, group)).collect();
    let asked: Vec<SourceRecord> = keyed.iter().flatten().cloned().collect();
    let mut answers = if asked.is_empty() { Vec::new() } else { held.places(&asked).await? }.into_iter();
    Ok(keyed.iter().map(|keyed| keyed.as_ref().and_then(|_| answers.next()).unwrap_or(Place::Free)).collect())
}

/// Holds those of the jobs that have a key.
pub(super) async fn hold(held: &dyn HeldKeys, jobs: &[Job], group: &str) -> Result<(), String> {
    let records: Vec<SourceRecord> = jobs.iter().filter_map(|job| source(job, group)).collect();
    if records.is_empty() { Ok(()) } else { held.hold(&records).await }
}

/// What is to happen with a job of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// The handler gets it.
    Now,
    /// The handler gets one before it, which may release it: the next run asks again.
    Next,
    /// It follows a held record to dead letters.
    Never,
}

/// One turn for each job. There is always one whose turn is not `Next`, so every run gets on.
pub(super) fn turns(jobs: &[Job], places: &[Place]) -> Vec<Turn> {
    let mut going = HashSet::new();
    let turn = |(job, place): (&Job, &Place)| {
        let lane = (job.epoch, job.lane);
        match place {
            Place::Behind if going.contains(&lane) => Turn::Next,
            Place::Behind => Turn::Never,
            Place::Free | Place::First => {
                going.insert(lane);
                Turn::Now
            }
        }
    };
    jobs.iter().zip(places).map(turn).collect()
}

/// Releases what was applied. If that fails, these jobs are not done: the inbox makes the repeat cheap.
pub(super) async fn release(
    held: &dyn HeldKeys,
    handled: &[(&Job, Place)],
    outcomes: &mut [Outcome],
    group: &str,
) {
    let applied = |outcome: &Outcome| matches!(outcome, Outcome::Done | Outcome::Skipped);
    let (mut records, mut slots) = (Vec::new(), Vec::new());
    for ((job, place), outcome) in handled.iter().zip(outcomes.iter_mut()) {
        if *place == Place::First
            && applied(outcome)
            && let Some(record) = source(job, group)
        {
            records.push(record);
            slots.push(outcome);
        }
    }
    if records.is_empty() {
        return;
    }
    if let Err(reason) = held.release(&records).await {
        slots.into_iter().for_each(|slot| *slot = Outcome::Unavailable(reason.clone()));
    }
}

fn source(job: &Job, group: &str) -> Option<SourceRecord> {
    let record = &job.record;
    let origin = Origin::of(record, group);
    let of_key =
        || SourceRecord { topic: origin.topic.to_owned(), key: record.key().to_vec(), offset: origin.offset };
    (!record.key().is_empty()).then(of_key)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::consumer::job::Record;
    use crate::consumer::keys::Lanes;

    fn places() -> impl Strategy<Value = Vec<(u8, Place)>> {
        let place = prop_oneof![Just(Place::Free), Just(Place::First), Just(Place::Behind)];
        proptest::collection::vec((0..3u8, place), 1..12)
    }

    proptest! {
        #[test]
        fn every_run_gets_on_and_nothing_follows_to_dead_letters_what_is_only_now_handled(run in places()) {
            let lanes = Lanes::default();
            let jobs: Vec<Job> = run.iter().map(|(key, _)| {
                let key = vec![*key];
                let lane = lanes.of(&key);
                let key = Some(key);
                let record = Record { topic: "t".into(), partition: 0, offset: 0, key, payload: None, headers: None };
                Job { epoch: 1, lane, record, tries: 0, failures: 0, burial: None }
            }).collect();
            let places: Vec<Place> = run.iter().map(|(_, place)| *place).collect();
            let turns = turns(&jobs, &places);
            prop_assert!(turns.iter().any(|turn| *turn != Turn::Next));
            for (at, turn) in turns.iter().enumerate() {
                let before = jobs[..at].iter().zip(&turns).any(|(job, turn)| job.lane == jobs[at].lane && *turn == Turn::Now);
                match turn {
                    Turn::Now => prop_assert!(places[at] != Place::Behind),
                    Turn::Next => prop_assert!(before && places[at] == Place::Behind),
                    Turn::Never => prop_assert!(!before && places[at] == Place::Behind),
                }
            }
        }
    }
}
