//! What both endpoints share: latency, dice, the decision about a message and its journal.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::Utc;
use telemetry::metrics::{Counters, Metrics};
use uuid::Uuid;

use crate::channel::{Channel, PerChannel};
use crate::journal::{Journal, JournalError};
use crate::ledger::{self, Entry, Fate, Ledger, OrderCounts, Outcome, Totals, Verdict};
use crate::settings::{self, Settings, SettingsChange, WrongSetting};

/// How many messages the page shows.
const SHOWN: usize = 100;

/// Whether a sender's order id can be kept: 1 to 64 visible ASCII characters.
pub fn is_order_id(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// A message as an endpoint received it.
#[derive(Clone, Debug)]
pub struct Message {
    /// How it came.
    pub channel: Channel,
    /// Idempotency key, if the sender gave one.
    pub key: Option<String>,
    /// The order it is about, if the sender said so.
    pub order_id: Option<String>,
    /// Masked recipient.
    pub to: String,
    /// [`ledger::fingerprint`] of the body, where another body under the same key is a mistake.
    pub body: Option<u16>,
    /// The beginning of the text, for the page; it never reaches the journal.
    pub preview: String,
}

/// What the sender is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Delivered, now or before.
    Success {
        /// The provider's id of the message; a repeat gets the first one's.
        id: Uuid,
        /// The key was taken before.
        repeated: bool,
    },
    /// Delivered, but the connection has to be closed without an answer.
    Silence,
    /// Not delivered, try again later.
    Refusal,
    /// The key belongs to a message with another body.
    KeyOfAnotherBody,
}

/// A message on the page.
#[derive(Clone, Debug)]
pub struct Shown {
    /// What the journal says.
    pub entry: Entry,
    /// The beginning of the text; empty for messages from before the last start.
    pub preview: String,
}

/// The stand-in: one for both channels.
#[derive(Debug)]
pub struct Provider {
    settings: Mutex<Settings>,
    books: Mutex<Books>,
    in_progress: PerChannel<AtomicU64>,
    messages: Counters<2>,
}

/// Counts a message for as long as it lives, also if its sender goes away.
struct InProgress<'a>(&'a AtomicU64);

impl<'a> InProgress<'a> {
    fn begin(count: &'a AtomicU64) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for InProgress<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[derive(Debug)]
struct Books {
    ledger: Ledger,
    journal: Journal,
    latest: VecDeque<Shown>,
    /// Why the last entry could not be written, until one can.
    trouble: Option<io::ErrorKind>,
}

impl Provider {
    /// A provider that remembers what its journal says.
    pub fn open(journal: &Path) -> Result<Self, JournalError> {
        let mut ledger = Ledger::default();
        let mut latest = VecDeque::with_capacity(SHOWN);
        let journal = Journal::open(journal, |entry| {
            ledger.apply(&entry);
            show(&mut latest, Shown { entry, preview: String::new() });
        })?;
        let books = Books { ledger, journal, latest, trouble: None };
        Ok(Self {
            settings: Mutex::new(settings::DEFAULTS),
            books: Mutex::new(books),
            in_progress: PerChannel::default(),
            messages: Counters::new(["channel", "outcome"]),
        })
    }

    /// Shows what it counts.
    pub fn register(&self, metrics: &Metrics) {
        let help = "Messages by what became of them";
        self.messages.register(metrics, "provider_sim_messages", help);
    }

    /// Lets the latency pass, then decides. An error means that the journal cannot be written: nothing was delivered.
    ///
    /// Twins (one key, at the same time) need no lock over the latency: the decision is one step that nothing
    /// interrupts, so the one that decides second finds the key taken or free, never in between. A sender that goes away
    /// during the latency may drop this future; then nothing was decided.
    pub async fn deliver(&self, message: Message) -> io::Result<Reply> {
        let _in_progress = InProgress::begin(self.in_progress.of(message.channel));
        let latency = self.settings().of(message.channel).latency_ms;
        tokio::time::sleep(Duration::from_millis(latency)).await;
        self.decide(message)
    }

    /// Judge, journal, enter. Writing a line to the page cache takes microseconds, so it is done in place: handing it to
    /// another thread would let a dropped future leave a line whose message the ledger does not know.
    fn decide(&self, message: Message) -> io::Result<Reply> {
        let fate = draw(&self.settings(), message.channel);
        let mut books = self.books();
        let verdict = books.ledger.judge(message.channel, message.key.as_deref(), message.body, fate);
        let Verdict::Enter(outcome) = verdict else { return Ok(Reply::KeyOfAnotherBody) };

        let Message { channel, key, order_id, to, body, preview } = message;
        let entry = Entry { at: Utc::now(), channel, outcome, key, order_id, to, body };
        if let Err(error) = books.journal.append(&entry) {
            books.trouble = Some(error.kind());
            drop(books);
            tracing::error!(%error, "the journal cannot be written, the message is refused");
            return Err(error);
        }
        books.trouble = None;
        self.messages.add([channel.name(), outcome.name()], 1);
        books.ledger.apply(&entry);
        let id = ledger::message_id(channel, entry.key.as_deref());
        tracing::debug!(channel = channel.name(), ?outcome, order_id = entry.order_id, "message decided");
        show(&mut books.latest, Shown { entry, preview });

        Ok(match outcome {
            Outcome::Taken => Reply::Success { id, repeated: false },
            Outcome::Repeated => Reply::Success { id, repeated: true },
            Outcome::TakenAnswerLost => Reply::Silence,
            Outcome::Refused => Reply::Refusal,
        })
    }

    /// The settings of this moment.
    pub fn settings(&self) -> Settings {
        *self.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the settings, as a whole or not at all.
    pub fn change_settings(&self, change: SettingsChange) -> Result<Settings, Vec<WrongSetting>> {
        let mut settings = self.settings.lock().unwrap_or_else(PoisonError::into_inner);
        *settings = settings::changed(*settings, change)?;
        Ok(*settings)
    }

    /// The counts of one order.
    pub fn order(&self, order_id: &str) -> PerChannel<OrderCounts> {
        self.books().ledger.order(order_id)
    }

    /// The counts over all messages.
    pub fn totals(&self) -> PerChannel<Totals> {
        self.books().ledger.totals()
    }

    /// Messages of the channel that are complete and not yet decided.
    pub fn in_progress(&self, channel: Channel) -> u64 {
        self.in_progress.of(channel).load(Ordering::Relaxed)
    }

    /// The latest messages, newest first.
    pub fn latest(&self) -> Vec<Shown> {
        self.books().latest.iter().rev().cloned().collect()
    }

    /// The journal's file, and how long it is.
    pub fn journal(&self) -> (PathBuf, u64) {
        self.books().journal.extent()
    }

    /// Whether the last entry could be written.
    pub fn journal_state(&self) -> Result<(), String> {
        match self.books().trouble {
            None => Ok(()),
            Some(kind) => Err(format!("the journal cannot be written: {kind}")),
        }
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn show(latest: &mut VecDeque<Shown>, shown: Shown) {
    if latest.len() == SHOWN {
        latest.pop_front();
    }
    latest.push_back(shown);
}

fn draw(settings: &Settings, channel: Channel) -> Fate {
    let channel = settings.of(channel);
    // A random number in [0, 1) is below 1 always and below 0 never, so both ends are exact.
    Fate {
        refuse: rand::random::<f64>() < channel.failure_rate,
        lose_answer: rand::random::<f64>() < channel.lost_answer_rate,
    }
}
