//! How long keys stand still when members of a group come and go.

mod load;
mod standstill;

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;

use self::load::Load;
use self::standstill::{longest, standstills};
use super::super::progress;
use super::super::report::{Figure, Spent, Unit};
use super::clock::Clock;
use super::journal::{self, Journal, Track};
use super::member::{Member, eventually};
use super::stage::Stage;

const GROUP: &str = "bench-rebalance";
const PARTITIONS: i32 = 8;
const KEYS: u32 = 200;
const MEMBERS: usize = 3;
const PER_SECOND: u32 = 2_000;
/// How long nobody comes or goes: what the rest is compared with.
const CALM: Duration = Duration::from_secs(10);
const CALM_QUICK: Duration = Duration::from_secs(1);
/// librdkafka joins once a second at most: a change right after another would wait for that, too.
const APART: Duration = Duration::from_millis(1_500);
/// When members notice is a matter of chance: the longest of so many.
const ROUNDS: usize = 5;

/// What was done when.
#[derive(Default)]
struct Times {
    joins: Vec<Range<Instant>>,
    leaves: Vec<Range<Instant>>,
}

pub(super) async fn measure(stage: &Stage) -> anyhow::Result<Vec<Figure>> {
    let topic = stage.topic("rebalance", GROUP, PARTITIONS).await?;
    // Nobody knows yet how many records there will be.
    let journal = Journal::new(KEYS as usize, Clock::new(stage.watched.clone(), usize::MAX));
    let mut group = Group { stage, topic, journal, members: VecDeque::new() };
    progress(format!("rebalance: {MEMBERS} members, {KEYS} keys, {PER_SECOND} records a second"));
    let load = Load::start(stage.producer.clone(), group.topic.clone(), KEYS, PER_SECOND);
    for _ in 0..MEMBERS {
        group.join().await?;
    }
    let (calm, spent) = group.calm(stage.size(CALM, CALM_QUICK)).await?;
    let mut times = Times::default();
    for _ in 0..stage.size(ROUNDS, 1) {
        // With the pause after it, in which the group may deal out once more.
        let joined = group.join().await?;
        times.joins.push(joined.start..group.calm(APART).await?.0.end);
        let left = group.leave().await?;
        times.leaves.push(left.start..group.calm(APART).await?.0.end);
    }
    let on_topic = load.end().await?;
    let tracks = group.finish(&on_topic).await?;

    let all: Vec<_> =
        on_topic.iter().zip(&tracks).flat_map(|(on, track)| standstills(on, &track.finished)).collect();
    let millis = |during: &Range<Instant>| longest(&all, during).as_secs_f64() * 1e3;
    let calm = millis(&calm);
    let figure = |what: &str, phases: &[Range<Instant>]| {
        let each: Vec<f64> = phases.iter().map(millis).collect();
        progress(format!("rebalance: {what}: {each:.0?} ms"));
        let name = format!("longest standstill of a key, {what}");
        Figure::new(name, Unit::Millis, each.into_iter().fold(0.0, f64::max))
            .against("nobody comes or goes", calm)
    };
    Ok(vec![
        Figure::new("longest standstill of a key, nobody comes or goes", Unit::Millis, calm).used(&spent),
        figure("a member joins", &times.joins),
        figure("a member leaves", &times.leaves),
    ])
}

/// The members of the group, the oldest first.
struct Group<'a> {
    stage: &'a Stage,
    topic: String,
    journal: Arc<Journal>,
    members: VecDeque<Member>,
}

impl Group<'_> {
    /// One more member; until it works and every key gets on.
    async fn join(&mut self) -> anyhow::Result<Range<Instant>> {
        let began = Instant::now();
        let settings = self.stage.consumer(GROUP, &self.topic);
        let member = Member::working(settings, self.journal.clone());
        eventually("the new member works", || member.has_joined() && member.has_worked()).await?;
        self.members.push_back(member);
        self.settle(began).await
    }

    /// The oldest member leaves; until every key gets on.
    async fn leave(&mut self) -> anyhow::Result<Range<Instant>> {
        let began = Instant::now();
        self.members.pop_front().context("nobody is left")?.leave().await?;
        self.settle(began).await
    }

    async fn settle(&self, began: Instant) -> anyhow::Result<Range<Instant>> {
        let since = Instant::now();
        eventually("every key gets on", || self.journal.all_moved_since(since)).await?;
        Ok(began..Instant::now())
    }

    /// Nobody comes or goes for so long.
    async fn calm(&self, length: Duration) -> anyhow::Result<(Range<Instant>, Spent)> {
        let (before, done, began) = (self.stage.watched.read()?, self.journal.done(), Instant::now());
        tokio::time::sleep(length).await;
        let spent = self.stage.watched.since(&before, (self.journal.done() - done) as u64)?;
        Ok((began..Instant::now(), spent))
    }

    /// Waits for what is left, then everybody leaves.
    async fn finish(self, on_topic: &[Vec<Instant>]) -> anyhow::Result<Vec<Track>> {
        let expected: Vec<usize> = on_topic.iter().map(Vec::len).collect();
        let records: usize = expected.iter().sum();
        eventually("every record was handled", || self.journal.done() == records).await?;
        for member in self.members {
            member.leave().await?;
        }
        let tracks = self.journal.tracks();
        journal::check(&tracks, expected)?;
        let repeats: u64 = tracks.iter().map(|track| track.repeats).sum();
        progress(format!("rebalance: {records} records, {repeats} of them twice"));
        Ok(tracks)
    }
}
