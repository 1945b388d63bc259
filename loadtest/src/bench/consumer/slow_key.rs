//! A key that is slow holds itself up and nobody else.

use std::time::{Duration, Instant};

use anyhow::Context;

use super::super::progress;
use super::super::report::{Figure, Target, Unit};
use super::clock::Clock;
use super::journal::{self, Journal};
use super::member::Member;
use super::stage::Stage;
use super::ticket::Ticket;

const GROUP: &str = "bench-slow-key";
const FAST_KEYS: u32 = 200;
const FAST_US: u32 = 1_000;
const SLOW_US: u32 = 100_000;
/// The middle one of so many, with and without in turns.
const ROUNDS: usize = 3;
const LIMIT: Duration = Duration::from_secs(120);

pub(super) async fn measure(stage: &Stage) -> anyhow::Result<Vec<Figure>> {
    let (fast, slow) = stage.size((40_000, 40), (2_000, 5));
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for round in 0..stage.size(ROUNDS, 1) {
        progress(format!("slow key: {fast} fast records, without and with {slow} slow ones"));
        without.push(run(stage, &format!("fast-{round}"), fast, 0).await?);
        with.push(run(stage, &format!("slow-{round}"), fast, slow).await?);
    }
    let name = format!("{fast} records of {FAST_KEYS} keys of 1 ms, beside a key of 100 ms");
    let figure = Figure::new(name, Unit::Seconds, middle(with))
        .target(Target::RatioAtMost(1.1))
        .against("without it", middle(without));
    Ok(vec![figure])
}

/// Seconds until the last fast record is done.
async fn run(stage: &Stage, name: &str, fast: u32, slow: u32) -> anyhow::Result<f64> {
    let topic = stage.topic(name, GROUP, 1).await?;
    stage.publish(tickets(fast, slow).map(|ticket| ticket.record(&topic))).await?;
    let records = (fast + slow) as usize;
    let journal = Journal::new(FAST_KEYS as usize + 1, Clock::new(stage.watched.clone(), records));
    let mut member = Member::working(stage.consumer(GROUP, &topic), journal.clone());
    let (took, _) = member.until(LIMIT, journal.clock.over()).await?;
    member.leave().await?;
    let tracks = journal.tracks();
    let expected = journal::dealt(fast as usize, FAST_KEYS as usize).chain([slow as usize]);
    journal::check(&tracks, expected)?;
    journal::check_once(&tracks)?;
    let last = |tracks: &[journal::Track]| -> Option<Instant> {
        tracks.iter().filter_map(|track| track.finished.last().copied()).max()
    };
    let fast_tracks = tracks.get(..FAST_KEYS as usize).unwrap_or_default();
    let (all, fast) = (last(&tracks).context("nothing came")?, last(fast_tracks).context("nothing came")?);
    Ok((took - all.duration_since(fast)).as_secs_f64())
}

/// The slow ones stand evenly among the fast ones.
fn tickets(fast: u32, slow: u32) -> impl Iterator<Item = Ticket> {
    let every = fast.checked_div(slow).unwrap_or(u32::MAX);
    (0..fast).flat_map(move |i| {
        let slow_one = (i % every == 0 && i / every < slow && slow > 0).then_some(Ticket {
            key: FAST_KEYS,
            number: i / every,
            work_us: SLOW_US,
        });
        let fast_one = Ticket { key: i % FAST_KEYS, number: i / FAST_KEYS, work_us: FAST_US };
        slow_one.into_iter().chain([fast_one])
    })
}

fn middle(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds.get(seconds.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_records_stand_evenly_among_the_fast_ones_and_all_are_there() {
        for (fast, slow) in [(1_000, 5), (1_003, 5), (1_000, 0)] {
            let all: Vec<Ticket> = tickets(fast, slow).collect();
            let slow_ones: Vec<u32> =
                all.iter().filter(|one| one.key == FAST_KEYS).map(|one| one.number).collect();
            assert_eq!(slow_ones, (0..slow).collect::<Vec<_>>());
            assert_eq!(all.len(), (fast + slow) as usize);
        }
    }
}
