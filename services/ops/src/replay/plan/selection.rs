//! Which letters are sent, and why the others are not.

use std::collections::HashMap;

use anyhow::ensure;

use crate::replay::place::LetterPlace;

/// Letters that may be kept in mind at a time; each takes a few hundred bytes, whatever its payload.
const MOST_LETTERS: usize = 1_000_000;

/// What has to be known about a letter to decide on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::replay) struct Candidate {
    pub(in crate::replay) place: LetterPlace,
    /// Empty: none.
    pub(in crate::replay) key: Vec<u8>,
    /// Partition and offset on the source topic.
    pub(in crate::replay) source: (i32, i64),
    /// How often its record was replayed before it became this letter.
    pub(in crate::replay) replays: u32,
    pub(in crate::replay) payload_bytes: usize,
    /// Its key is held: later records of the key went to dead letters behind it.
    pub(in crate::replay) held: bool,
    pub(in crate::replay) beyond_horizon: bool,
    /// The retry topic has a replay of it.
    pub(in crate::replay) replayed: bool,
    /// It passes the filters.
    pub(in crate::replay) passes: bool,
    /// It stays whatever becomes of its key, so the key stays with it if it is held.
    pub(in crate::replay) excepted: bool,
}

/// What the operator allows.
#[derive(Clone, Copy, Debug)]
pub(in crate::replay) struct Rules {
    pub(in crate::replay) again: bool,
    pub(in crate::replay) beyond_horizon: bool,
    pub(in crate::replay) max_replays: u32,
    pub(in crate::replay) limit: Option<usize>,
}

/// Letters that stay where they are, by the reason for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::replay) struct Left {
    /// They do not pass the filters.
    pub(in crate::replay) filtered: u64,
    /// They were replayed before.
    pub(in crate::replay) replayed: u64,
    /// There is a later letter about the same record.
    pub(in crate::replay) outdated: u64,
    /// Their record was replayed too often.
    pub(in crate::replay) loop_guard: u64,
    /// The inbox has forgotten whether their event was applied.
    pub(in crate::replay) beyond_horizon: u64,
    /// Their key is held, and another of its letters stays.
    pub(in crate::replay) held: u64,
    /// No room below the limit.
    pub(in crate::replay) limit: u64,
}

/// What a run sends.
#[derive(Debug, Default)]
pub(in crate::replay) struct Selection {
    /// In the order of sending.
    pub(in crate::replay) send: Vec<Candidate>,
    pub(in crate::replay) left: Left,
    /// Letters among them that do not pass the filters, and go along since their key is held.
    pub(in crate::replay) went_along: u64,
}

/// Takes all letters, one by one, and then decides.
#[derive(Debug)]
pub(in crate::replay) struct Selector {
    rules: Rules,
    keys: HashMap<Vec<u8>, Vec<Candidate>>,
    count: usize,
    /// How often each record was replayed, by key and source, as the last letter about it says; those that never were are not in here.
    /// Of all letters: one that the filters hide outdates an earlier one all the same.
    replays: HashMap<Vec<u8>, HashMap<(i32, i64), u32>>,
    replayed_records: usize,
    left: Left,
}

impl Selector {
    pub(in crate::replay) fn new(rules: Rules) -> Self {
        Self {
            rules,
            keys: HashMap::new(),
            count: 0,
            replays: HashMap::new(),
            replayed_records: 0,
            left: Left::default(),
        }
    }

    /// A letter of the topic. Kept are those that pass, and those that a held key may need.
    pub(in crate::replay) fn offer(&mut self, letter: Candidate) -> anyhow::Result<()> {
        self.note_replays(&letter)?;
        if !letter.passes && (letter.replayed || !letter.held) {
            self.left.filtered += 1;
        } else if letter.replayed && !self.rules.again {
            self.left.replayed += 1;
        } else {
            let full = self.count == MOST_LETTERS;
            ensure!(
                !full,
                "more than {MOST_LETTERS} letters: choose fewer at a time, with --until for example"
            );
            self.count += 1;
            self.keys.entry(letter.key.clone()).or_default().push(letter);
        }
        Ok(())
    }

    fn note_replays(&mut self, letter: &Candidate) -> anyhow::Result<()> {
        if letter.replays > 0 {
            let of_key = self.replays.entry(letter.key.clone()).or_default();
            let replays = of_key.entry(letter.source).or_insert_with(|| {
                self.replayed_records += 1;
                0
            });
            *replays = letter.replays.max(*replays);
            ensure!(
                self.replayed_records <= MOST_LETTERS,
                "letters about more than {MOST_LETTERS} records that were replayed before"
            );
        }
        Ok(())
    }

    /// The decision.
    pub(in crate::replay) fn select(mut self) -> Selection {
        let mut selection = Selection { left: self.left, ..Selection::default() };
        for (key, letters) in self.keys.drain() {
            let replays = self.replays.remove(&key).unwrap_or_default();
            let letters = without_outdated(letters, &replays, &mut selection.left);
            // Records without a key have no order and are never held.
            let held = !key.is_empty() && letters.iter().any(|letter| letter.held);
            if held && letters.iter().any(|letter| letter.passes) {
                self.rules.add_whole_key(letters, &mut selection);
            } else {
                self.rules.add_each(letters, &mut selection);
            }
        }
        selection.send.sort_unstable_by_key(|letter| (letter.source, letter.place));
        if let Some(limit) = self.rules.limit {
            selection.cut(limit);
        }
        selection.went_along = count(selection.send.iter().filter(|letter| !letter.passes));
        selection
    }
}

impl Rules {
    fn add_each(&self, letters: Vec<Candidate>, to: &mut Selection) {
        for letter in letters {
            match self.obstacle(&letter) {
                _ if !letter.passes => to.left.filtered += 1,
                Some(obstacle) => *obstacle(&mut to.left) += 1,
                None => to.send.push(letter),
            }
        }
    }

    fn add_whole_key(&self, letters: Vec<Candidate>, to: &mut Selection) {
        if letters.iter().all(|letter| self.obstacle(letter).is_none()) {
            to.send.extend(letters);
            return;
        }
        for letter in letters {
            match self.obstacle(&letter) {
                Some(obstacle) => *obstacle(&mut to.left) += 1,
                None => to.left.held += 1,
            }
        }
    }

    /// What keeps a letter from being sent: where it is counted.
    fn obstacle(&self, letter: &Candidate) -> Option<fn(&mut Left) -> &mut u64> {
        if letter.excepted {
            Some(|left| &mut left.filtered)
        } else if letter.replays >= self.max_replays {
            Some(|left| &mut left.loop_guard)
        } else if letter.beyond_horizon && !(self.beyond_horizon && letter.passes) {
            // A letter that only goes along with its key was not looked at.
            Some(|left| &mut left.beyond_horizon)
        } else {
            None
        }
    }
}

impl Selection {
    /// Leaves `limit` letters at most: the first ones, but a held key whole or not at all.
    fn cut(&mut self, limit: usize) {
        let mut held: HashMap<Vec<u8>, usize> = HashMap::new();
        for letter in self.send.iter().filter(|letter| letter.held && !letter.key.is_empty()) {
            held.insert(letter.key.clone(), 0);
        }
        for letter in &self.send {
            if let Some(letters) = held.get_mut(&letter.key) {
                *letters += 1;
            }
        }
        let mut room = limit;
        let mut decided: HashMap<Vec<u8>, bool> = HashMap::new();
        let before = self.send.len();
        self.send.retain(|letter| match held.get(&letter.key) {
            None => take(&mut room, 1),
            Some(letters) => match decided.get(&letter.key) {
                Some(taken) => *taken,
                None => {
                    let taken = take(&mut room, *letters);
                    decided.insert(letter.key.clone(), taken);
                    taken
                }
            },
        });
        self.left.limit = (before - self.send.len()) as u64;
    }
}

fn take(room: &mut usize, letters: usize) -> bool {
    match room.checked_sub(letters) {
        Some(rest) => {
            *room = rest;
            true
        }
        None => false,
    }
}

/// Each replay that failed left a letter that counts one more. Equal counts are one failure written twice, and both go.
fn without_outdated(
    mut letters: Vec<Candidate>,
    replays: &HashMap<(i32, i64), u32>,
    left: &mut Left,
) -> Vec<Candidate> {
    letters.retain(|letter| {
        let current = replays.get(&letter.source).is_none_or(|last| letter.replays == *last);
        match (current, letter.passes) {
            (true, _) => {}
            (false, true) => left.outdated += 1,
            (false, false) => left.filtered += 1,
        }
        current
    });
    letters
}

fn count(letters: impl Iterator) -> u64 {
    letters.count() as u64
}
