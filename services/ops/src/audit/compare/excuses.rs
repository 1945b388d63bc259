//! Why an effect may rightly be absent.

use std::collections::HashSet;

/// What became of the event that all effects of an order follow from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fate {
    /// It is on the topic, or was before retention took it.
    Published,
    /// It should be on the topic and is not.
    #[default]
    Missing,
    /// It is in the outbox.
    InOutbox,
    /// It is in the outbox, and its key is blocked.
    Blocked,
    /// An operator took it out of the outbox.
    Skipped,
}

/// Why an effect is rightly absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Excuse {
    /// It will come, or an operator is asked to decide; the text says where it waits.
    Waiting(&'static str),
    /// It is not to come.
    Skipped,
}

/// What may excuse the absent effects of one consumer group.
#[derive(Debug)]
pub struct Excuses<'a> {
    /// By position in [`super::Orders`].
    pub fates: &'a [Fate],
    /// Orders whose event the group had not passed when the effects were read.
    pub behind: &'a HashSet<usize>,
    /// Orders whose event is in the group's dead letters.
    pub dead: &'a HashSet<usize>,
}

impl Excuses<'_> {
    /// The excuse of the order at `position`, should its effect be absent.
    pub fn of(&self, position: usize) -> Option<Excuse> {
        match self.fates.get(position).copied().unwrap_or_default() {
            Fate::InOutbox => Some(Excuse::Waiting("in the outbox")),
            Fate::Blocked => Some(Excuse::Waiting("in the outbox, its key is blocked")),
            Fate::Skipped => Some(Excuse::Skipped),
            Fate::Published if self.dead.contains(&position) => Some(Excuse::Waiting("in the dead letters")),
            Fate::Published if self.behind.contains(&position) => {
                Some(Excuse::Waiting("on the topic, not yet read by the group"))
            }
            Fate::Published | Fate::Missing => None,
        }
    }
}
