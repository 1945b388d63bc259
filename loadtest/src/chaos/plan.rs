//! What is broken when: a pure function of the seed.
//!
//! A run is a row of waves. The faults of a wave begin in its first seconds and hit different targets, so that several are away
//! at once, servers too; each fault has an end. Every wave ends with everything up again for a moment, so a run always gets
//! on, and one wave's damage is found by the next. A machine that is slow makes waves longer and changes nothing else.

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{RngExt, SeedableRng};

use super::target::Target;

/// How long a wave lasts if nothing takes longer than planned.
pub const WAVE: Duration = Duration::from_secs(20);
/// How long everything is left alone at the end of each wave.
pub const CALM: Duration = Duration::from_secs(3);
/// A freeze of this length outlives every lease and session there is: the relay's 10 s are the longest.
pub const PAST_A_LEASE: Duration = Duration::from_secs(11);

/// Kills in a wave of a long run. 15 waves make 60 in five minutes.
const KILLS: usize = 4;
/// Faults other than kills in a wave.
const OTHERS: usize = 2;
/// When the faults of a wave begin.
const BEGIN: RangeInclusive<u64> = 0..=7_000;
/// How long a killed process stays away: mostly briefly, sometimes longer than a consumer group waits for a member (6 s).
const AWAY: [RangeInclusive<u64>; 4] = [0..=500, 500..=3_000, 500..=3_000, 7_000..=9_000];
/// How long a process is frozen. Every time-out of the system lies between the first and the last.
const ASLEEP: [RangeInclusive<u64>; 3] = [200..=1_000, 1_000..=5_000, 11_000..=12_000];

/// All faults of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// In their order, each once the one before it is over.
    pub waves: Vec<Wave>,
}

/// Faults that overlap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wave {
    /// In the order in which they begin; each has a target of its own.
    pub faults: Vec<Fault>,
}

/// One fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Whom it hits.
    pub target: Target,
    /// When, from the beginning of the wave.
    pub after: Duration,
    /// How.
    pub action: Action,
}

/// What is done to a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// `SIGKILL`, and started again after this time.
    Kill(Duration),
    /// `SIGSTOP`, and `SIGCONT` after this time.
    Freeze(Duration),
    /// Stopped in good order and started again at once.
    Restart,
}

impl Plan {
    /// The plan of `seed` for a run of about `minutes`, two waves at least.
    pub fn new(seed: u64, minutes: f64) -> Self {
        let waves = ((minutes * 60.0 / WAVE.as_secs_f64()).round() as usize).max(2);
        let kills = KILLS.max(Target::ALL.len().div_ceil(waves));
        let mut dice = Dice { random: StdRng::seed_from_u64(seed), deck: VecDeque::new() };
        Self { waves: (0..waves).map(|number| dice.wave(number == 0, kills)).collect() }
    }

    /// All faults.
    pub fn faults(&self) -> impl Iterator<Item = &Fault> {
        self.waves.iter().flat_map(|wave| &wave.faults)
    }
}

struct Dice {
    random: StdRng,
    /// Who is to be killed next. Shuffled anew when it runs out, so that everybody's turn comes.
    deck: VecDeque<Target>,
}

impl Dice {
    fn wave(&mut self, first: bool, kills: usize) -> Wave {
        let mut faults = Vec::with_capacity(kills + OTHERS);
        if first {
            // In every run a relay sleeps past its lease while another one takes over.
            let relay = *Target::RELAYS.choose(&mut self.random).unwrap_or(&Target::Relay);
            faults.push(self.fault(relay, Action::Freeze(PAST_A_LEASE)));
        }
        for _ in 0..kills {
            let target = self.next_victim(&faults);
            let away = self.duration(&AWAY);
            faults.push(self.fault(target, Action::Kill(away)));
        }
        while faults.len() < kills + OTHERS {
            let spared: Vec<Target> =
                Target::ALL.into_iter().filter(|target| !hit(&faults, *target)).collect();
            let Some(target) = spared.choose(&mut self.random).copied() else { break };
            let action = match self.random.random_range(0..3) {
                0 => Action::Restart,
                _ => Action::Freeze(self.duration(&ASLEEP)),
            };
            faults.push(self.fault(target, action));
        }
        faults.sort_by_key(|fault| fault.after);
        Wave { faults }
    }

    fn fault(&mut self, target: Target, action: Action) -> Fault {
        Fault { target, after: Duration::from_millis(self.random.random_range(BEGIN)), action }
    }

    /// The next of the deck that this wave has not hit yet.
    fn next_victim(&mut self, faults: &[Fault]) -> Target {
        loop {
            let free = self.deck.iter().position(|target| !hit(faults, *target));
            if let Some(target) = free.and_then(|position| self.deck.remove(position)) {
                return target;
            }
            let mut everybody = Target::ALL;
            everybody.shuffle(&mut self.random);
            self.deck.extend(everybody);
        }
    }

    fn duration(&mut self, choices: &[RangeInclusive<u64>]) -> Duration {
        let range = choices.choose(&mut self.random).cloned().unwrap_or(0..=0);
        Duration::from_millis(self.random.random_range(range))
    }
}

fn hit(faults: &[Fault], target: Target) -> bool {
    faults.iter().any(|fault| fault.target == target)
}
