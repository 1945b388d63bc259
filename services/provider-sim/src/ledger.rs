//! Which keys were taken, and how often each order was served. Pure: no clock, no dice, no file.
//!
//! Every change goes through [`Ledger::apply`] with a journal [`Entry`], whether the message came a moment ago or the
//! entry was read back at start. Reading the journal therefore rebuilds exactly the ledger that wrote it.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::channel::{Channel, PerChannel};

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Delivered, and the sender was told so.
    Taken,
    /// Delivered, but the sender got no answer.
    TakenAnswerLost,
    /// Its key was taken before: answered as a success, not delivered again.
    Repeated,
    /// Not delivered; the sender may try again.
    Refused,
}

impl Outcome {
    /// The name in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Taken => "taken",
            Self::TakenAnswerLost => "taken_answer_lost",
            Self::Repeated => "repeated",
            Self::Refused => "refused",
        }
    }
}

/// One line of the journal. It names the recipient only in masked form and holds nothing of the text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// When it was decided.
    pub at: DateTime<Utc>,
    /// How the message came.
    pub channel: Channel,
    /// What became of it.
    pub outcome: Outcome,
    /// Idempotency key of the sender; without one the message is a delivery of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The order that the message is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order_id: Option<String>,
    /// Masked recipient.
    pub to: String,
    /// Tells two bodies under one key apart; see [`fingerprint`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<u16>,
}

/// A fingerprint of a message body, the same in every process.
///
/// Sixteen bits on purpose: enough to notice a key used for another message, far too few to find the phone number in
/// it by trying all numbers.
pub fn fingerprint(body: &[u8]) -> u16 {
    let hash = Uuid::new_v5(&Uuid::NAMESPACE_OID, body).into_bytes();
    u16::from_be_bytes([hash[0], hash[1]])
}

/// How often an order was served over one channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct OrderCounts {
    /// Deliveries: more than one means that the customer was told twice.
    pub distinct: u32,
    /// Repeats of a delivery that were recognised by their key.
    pub repeated: u32,
}

/// Everything that came over one channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Deliveries.
    pub distinct: u64,
    /// Repeats recognised by their key.
    pub repeated: u64,
    /// Messages sent away.
    pub refused: u64,
    /// Deliveries whose sender got no answer.
    pub lost_answers: u64,
}

/// What is to be done with a message under the fates that were drawn for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Enter it with this outcome and answer accordingly.
    Enter(Outcome),
    /// The key belongs to a message with another body: a mistake of the sender, nothing is entered.
    KeyOfAnotherBody,
}

/// What the dice say about a message, should it be a new one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fate {
    /// It is refused.
    pub refuse: bool,
    /// It is taken and the answer gets lost.
    pub lose_answer: bool,
}

/// Taken keys and counts.
///
/// Keys and order ids are kept as 128-bit hashes: all of them have to be remembered, so each costs a fixed few bytes
/// whatever a sender puts there.
#[derive(Debug, Default)]
pub struct Ledger {
    taken: HashMap<Uuid, Option<u16>>,
    orders: HashMap<Uuid, PerChannel<OrderCounts>>,
    totals: PerChannel<Totals>,
}

impl Ledger {
    /// Decides about a message without entering it. A repeat is a success whatever the dice say: the delivery it
    /// repeats has happened.
    pub fn judge(&self, channel: Channel, key: Option<&str>, body: Option<u16>, fate: Fate) -> Verdict {
        match key.and_then(|key| self.taken.get(&key_hash(channel, key))) {
            Some(first) if body.is_some() && *first != body => Verdict::KeyOfAnotherBody,
            Some(_) => Verdict::Enter(Outcome::Repeated),
            None if fate.refuse => Verdict::Enter(Outcome::Refused),
            None if fate.lose_answer => Verdict::Enter(Outcome::TakenAnswerLost),
            None => Verdict::Enter(Outcome::Taken),
        }
    }

    /// Enters one line of the journal.
    pub fn apply(&mut self, entry: &Entry) {
        let totals = self.totals.of_mut(entry.channel);
        let delivered = match entry.outcome {
            Outcome::Refused => {
                totals.refused += 1;
                return;
            }
            Outcome::Repeated => false,
            Outcome::Taken => true,
            Outcome::TakenAnswerLost => {
                totals.lost_answers += 1;
                true
            }
        };
        if delivered {
            totals.distinct += 1;
        } else {
            totals.repeated += 1;
        }
        if let (true, Some(key)) = (delivered, &entry.key)
            && let Slot::Vacant(slot) = self.taken.entry(key_hash(entry.channel, key))
        {
            slot.insert(entry.body);
        }
        if let Some(order_id) = &entry.order_id {
            let counts = self.orders.entry(order_hash(order_id)).or_default().of_mut(entry.channel);
            if delivered {
                counts.distinct += 1;
            } else {
                counts.repeated += 1;
            }
        }
    }

    /// The counts of an order; an order nobody wrote about has zeros.
    pub fn order(&self, order_id: &str) -> PerChannel<OrderCounts> {
        self.orders.get(&order_hash(order_id)).copied().unwrap_or_default()
    }

    /// The counts over all messages.
    pub fn totals(&self) -> PerChannel<Totals> {
        self.totals
    }
}

/// Keys of the two channels do not meet: they are two companies.
fn key_hash(channel: Channel, key: &str) -> Uuid {
    Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("{}/{key}", channel.name()).as_bytes())
}

fn order_hash(order_id: &str) -> Uuid {
    Uuid::new_v5(&Uuid::NAMESPACE_URL, order_id.as_bytes())
}

/// The id that the provider gives a message: a repeat gets the id of the delivery it repeats.
pub fn message_id(channel: Channel, key: Option<&str>) -> Uuid {
    key.map_or_else(Uuid::new_v4, |key| key_hash(channel, key))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALM: Fate = Fate { refuse: false, lose_answer: false };

    fn entry(outcome: Outcome, key: Option<&str>) -> Entry {
        Entry {
            at: Utc::now(),
            channel: Channel::Sms,
            outcome,
            key: key.map(str::to_owned),
            order_id: Some("order-1".to_owned()),
            to: "***90".to_owned(),
            body: Some(7),
        }
    }

    #[test]
    fn a_taken_key_is_repeated_whatever_the_dice_say() {
        let mut ledger = Ledger::default();
        ledger.apply(&entry(Outcome::TakenAnswerLost, Some("k")));
        let worst = Fate { refuse: true, lose_answer: true };
        assert_eq!(ledger.judge(Channel::Sms, Some("k"), Some(7), worst), Verdict::Enter(Outcome::Repeated));
    }

    #[test]
    fn a_refused_key_stays_free() {
        let mut ledger = Ledger::default();
        ledger.apply(&entry(Outcome::Refused, Some("k")));
        assert_eq!(ledger.judge(Channel::Sms, Some("k"), Some(8), CALM), Verdict::Enter(Outcome::Taken));
        assert_eq!(ledger.order("order-1"), PerChannel::default());
        assert_eq!(ledger.totals().sms.refused, 1);
    }

    #[test]
    fn a_key_belongs_to_one_body_and_to_one_channel() {
        let mut ledger = Ledger::default();
        ledger.apply(&entry(Outcome::Taken, Some("k")));
        assert_eq!(ledger.judge(Channel::Sms, Some("k"), Some(8), CALM), Verdict::KeyOfAnotherBody);
        assert_eq!(ledger.judge(Channel::Email, Some("k"), None, CALM), Verdict::Enter(Outcome::Taken));
    }

    #[test]
    fn messages_without_a_key_are_deliveries_of_their_own() {
        let mut ledger = Ledger::default();
        for _ in 0..2 {
            assert_eq!(ledger.judge(Channel::Sms, None, Some(7), CALM), Verdict::Enter(Outcome::Taken));
            ledger.apply(&entry(Outcome::Taken, None));
        }
        assert_eq!(ledger.order("order-1").sms, OrderCounts { distinct: 2, repeated: 0 });
    }

    #[test]
    fn a_lost_answer_counts_as_a_delivery_and_its_repeat_does_not() {
        let mut ledger = Ledger::default();
        ledger.apply(&entry(Outcome::TakenAnswerLost, Some("k")));
        ledger.apply(&entry(Outcome::Repeated, Some("k")));
        assert_eq!(ledger.order("order-1").sms, OrderCounts { distinct: 1, repeated: 1 });
        assert_eq!(ledger.totals().sms, Totals { distinct: 1, repeated: 1, refused: 0, lost_answers: 1 });
    }
}
