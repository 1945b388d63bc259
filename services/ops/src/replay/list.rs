//! `ops replay list`.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::filter::Traits;
use super::letters::{DeadLetters, Found};
use super::place::LetterPlace;
use super::settings::ListSettings;
use super::text;

/// Characters shown of a reason and of a key.
const REASON: usize = 80;
const KEY: usize = 36;
/// Different reasons that are counted apart.
const REASONS: usize = 50;
const OTHER_REASONS: &str = "(other reasons)";

/// The result. The names of the fields are those of the JSON.
#[derive(Debug, Serialize)]
struct Listing {
    topic: String,
    /// Letters that pass the filters.
    found: u64,
    waiting: u64,
    replayed: u64,
    unreadable: u64,
    waiting_by_reason: Vec<Reason>,
    /// The oldest of those found.
    letters: Vec<Row>,
}

#[derive(Debug, Serialize)]
struct Reason {
    reason: String,
    letters: u64,
}

#[derive(Debug, Serialize)]
struct Row {
    letter: LetterPlace,
    at: Option<DateTime<Utc>>,
    key: String,
    attempts: Option<u32>,
    replays: Option<u32>,
    held: bool,
    state: State,
    reason: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Waiting,
    Replayed,
    /// No letter of this group: it stays where it is.
    Unreadable,
}

impl State {
    fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Replayed => "replayed",
            Self::Unreadable => "unreadable",
        }
    }
}

pub(super) async fn list(settings: &ListSettings) -> anyhow::Result<()> {
    let letters = DeadLetters::open(&settings.source).await?;
    for place in settings.filters.letters.iter().chain(&settings.filters.except) {
        letters.check(*place)?;
    }
    let mut listing = Collector::new(settings);
    letters
        .scan(|found| {
            listing.add(&found);
            Ok(())
        })
        .await?;
    let listing = listing.finish(letters.name);
    if settings.json {
        println!("{}", serde_json::to_string_pretty(&listing)?);
    } else {
        print(&listing, settings);
    }
    Ok(())
}

/// Counts all letters and keeps the oldest ones.
struct Collector<'a> {
    settings: &'a ListSettings,
    limit: usize,
    found: u64,
    waiting: u64,
    replayed: u64,
    unreadable: u64,
    reasons: BTreeMap<String, u64>,
    rows: Vec<Row>,
}

impl<'a> Collector<'a> {
    fn new(settings: &'a ListSettings) -> Self {
        let limit = settings.limit as usize;
        let (reasons, rows) = (BTreeMap::new(), Vec::new());
        Self { settings, limit, found: 0, waiting: 0, replayed: 0, unreadable: 0, reasons, rows }
    }

    fn add(&mut self, found: &Found) {
        let (reason, state) = match &found.letter {
            Ok(letter) if found.replayed => (&letter.reason, State::Replayed),
            Ok(letter) => (&letter.reason, State::Waiting),
            Err(wrong) => (wrong, State::Unreadable),
        };
        let (key, at) = (&found.record.key, found.record.timestamp_ms);
        let passes = self.settings.filters.pass(&Traits { place: found.place, key, reason, at });
        if !passes || (self.settings.waiting && state != State::Waiting) {
            return;
        }
        self.found += 1;
        let reason = text::line(reason, REASON);
        match state {
            State::Waiting => {
                self.waiting += 1;
                let apart = self.reasons.len() < REASONS || self.reasons.contains_key(&reason);
                let counted = if apart { reason.clone() } else { OTHER_REASONS.to_owned() };
                *self.reasons.entry(counted).or_default() += 1;
            }
            State::Replayed => self.replayed += 1,
            State::Unreadable => self.unreadable += 1,
        }
        let letter = found.letter.as_ref().ok();
        self.rows.push(Row {
            letter: found.place,
            at: at.and_then(DateTime::from_timestamp_millis),
            key: text::bytes(key, KEY),
            attempts: letter.map(|letter| letter.attempts),
            replays: letter.map(|letter| letter.replays),
            held: letter.is_some_and(|letter| letter.held),
            state,
            reason,
        });
        if self.rows.len() >= 2 * self.limit {
            self.keep_the_oldest();
        }
    }

    fn keep_the_oldest(&mut self) {
        self.rows.sort_unstable_by_key(|row| (row.at, row.letter));
        self.rows.truncate(self.limit);
    }

    fn finish(mut self, topic: String) -> Listing {
        self.keep_the_oldest();
        let mut waiting_by_reason: Vec<Reason> =
            self.reasons.into_iter().map(|(reason, letters)| Reason { reason, letters }).collect();
        waiting_by_reason.sort_by_key(|reason| std::cmp::Reverse(reason.letters));
        Listing {
            topic,
            found: self.found,
            waiting: self.waiting,
            replayed: self.replayed,
            unreadable: self.unreadable,
            waiting_by_reason,
            letters: self.rows,
        }
    }
}

fn print(listing: &Listing, settings: &ListSettings) {
    if !listing.letters.is_empty() {
        println!(
            "{:<12}  {:<20}  {:<KEY$}  {:>5}  {:>7}  {:<10}  REASON",
            "LETTER", "WRITTEN AT", "KEY", "TRIES", "REPLAYS", "STATE"
        );
    }
    let number = |number: Option<u32>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
    for row in &listing.letters {
        let at = text::moment(row.at.map(|at| at.timestamp_millis()));
        let held = if row.held { "(held) " } else { "" };
        println!(
            "{:<12}  {at:<20}  {:<KEY$}  {:>5}  {:>7}  {:<10}  {held}{}",
            row.letter,
            row.key,
            number(row.attempts),
            number(row.replays),
            row.state.name(),
            row.reason
        );
    }
    let Listing { topic, found, waiting, replayed, unreadable, .. } = listing;
    let shown = listing.letters.len() as u64;
    if shown < *found {
        println!("... and {} more (--limit)", found - shown);
    }
    if *found == 0 {
        println!(
            "no letter in {topic}{}",
            if settings.filters.any() || settings.waiting { " that the filters let pass" } else { "" }
        );
        return;
    }
    println!("\n{topic}: {waiting} wait, {replayed} replayed, {unreadable} unreadable");
    for Reason { reason, letters } in &listing.waiting_by_reason {
        println!("{letters:>9} wait: {reason}");
    }
}
