//! Records of one partition over few and over many keys. A key is worked on one record at a time, so nothing can be faster than the busiest
//! key's own work; how near the runtime comes to that is what it costs.

use std::time::Duration;

use super::super::progress;
use super::super::report::{Figure, Spent, Target, Unit};
use super::clock::Clock;
use super::journal::{self, Journal};
use super::member::Member;
use super::stage::Stage;
use super::ticket::Ticket;

const GROUP: &str = "bench-keys";
const KEYS: [usize; 6] = [1, 2, 5, 10, 20, 1_000];
/// Up to so many keys the work decides how long it takes; above it the runtime and the machine do.
const FEW: usize = 20;
const OVERHEAD: Target = Target::RatioAtMost(1.05);
const MANY: Target = Target::AtMost(0.38);
/// Below a second: the middle one of so many.
const ROUNDS: usize = 3;
const LONGEST_WORK_US: u64 = 5_000;
const LIMIT: Duration = Duration::from_secs(180);

struct Outcome {
    seconds: f64,
    /// Of the busiest key, as its handlers measured it.
    work: f64,
    spent: Spent,
}

pub(super) async fn measure(stage: &Stage) -> anyhow::Result<Vec<Figure>> {
    let records = stage.size(10_000, 500);
    let mut figures = Vec::new();
    for keys in KEYS {
        let rounds = if keys > FEW { stage.size(ROUNDS, 1) } else { 1 };
        let mut outcomes = Vec::new();
        for round in 0..rounds {
            progress(format!("keys: {records} records of 0 to 5 ms over {keys} keys"));
            outcomes.push(run(stage, records, keys, round).await?);
        }
        outcomes.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
        let outcome = outcomes.swap_remove(rounds / 2);
        let name = format!("{records} records of 0 to 5 ms, keys: {keys}");
        figures.push(
            Figure::new(name, Unit::Seconds, outcome.seconds)
                .target(if keys > FEW { MANY } else { OVERHEAD })
                .against("busiest key's own work", outcome.work)
                .used(&outcome.spent),
        );
    }
    Ok(figures)
}

/// From the first record in a handler to the end of the last handler.
async fn run(stage: &Stage, records: usize, keys: usize, round: usize) -> anyhow::Result<Outcome> {
    let topic = stage.topic(&format!("keys-{keys}-{round}"), GROUP, 1).await?;
    stage.publish((0..records as u32).map(|i| ticket(i, keys as u32).record(&topic))).await?;
    let journal = Journal::new(keys, Clock::new(stage.watched.clone(), records));
    let mut member = Member::working(stage.consumer(GROUP, &topic), journal.clone());
    let (took, spent) = member.until(LIMIT, journal.clock.over()).await?;
    member.leave().await?;
    let tracks = journal.tracks();
    journal::check(&tracks, journal::dealt(records, keys))?;
    journal::check_once(&tracks)?;
    let work = tracks.iter().map(|track| track.work).max().unwrap_or_default();
    Ok(Outcome { seconds: took.as_secs_f64(), work: work.as_secs_f64(), spent })
}

fn ticket(i: u32, keys: u32) -> Ticket {
    Ticket { key: i % keys, number: i / keys, work_us: work_us(i) }
}

/// The same in every run, and spread evenly.
fn work_us(i: u32) -> u32 {
    // SplitMix64.
    let mut hash = u64::from(i).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((hash ^ (hash >> 31)) % LONGEST_WORK_US) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_work_is_spread_evenly_up_to_five_milliseconds() {
        let all: Vec<u32> = (0..10_000).map(work_us).collect();
        let mean = all.iter().sum::<u32>() / 10_000;
        assert!((2_400..2_600).contains(&mean), "{mean}");
        assert!(all.iter().all(|work| *work < 5_000) && all.iter().any(|work| *work > 4_900));
    }
}
