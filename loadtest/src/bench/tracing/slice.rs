//! One measurement: orders for some seconds, until their last effect and the last span.

use std::fmt::{self, Display};
use std::time::Duration;

use anyhow::bail;

use crate::bench::report::{Spent, number};

/// How much is measured, and how often.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slice {
    /// Clients that order at a time.
    pub(super) clients: u64,
    /// For how long they do at first, before anything is counted: the Java machine of a new broker compiles its code meanwhile.
    pub(super) warm_up: Duration,
    /// And after each later start of the programs.
    pub(super) rehearsal: Duration,
    /// And each time that it is.
    pub(super) length: Duration,
    /// How often each mode has its turn in `sampled`: even, since every second round is backwards.
    pub(super) rounds: u64,
    /// How many of the shares `configured` measures.
    pub(super) configured_shares: usize,
    /// How often the processes are started for each mode in `configured`; even too.
    pub(super) starts: u64,
    /// How often they are measured after such a start.
    pub(super) slices_per_start: u64,
}

impl Slice {
    /// The short form, or the one to be quoted.
    pub(super) fn new(quick: bool) -> Self {
        if quick {
            Self {
                clients: 4,
                warm_up: Duration::from_millis(200),
                rehearsal: Duration::from_millis(200),
                length: Duration::from_millis(500),
                rounds: 1,
                configured_shares: 1,
                starts: 1,
                slices_per_start: 1,
            }
        } else {
            Self {
                clients: 32,
                warm_up: Duration::from_secs(60),
                rehearsal: Duration::from_secs(5),
                length: Duration::from_secs(6),
                rounds: 8,
                configured_shares: usize::MAX,
                starts: 2,
                slices_per_start: 2,
            }
        }
    }
}

/// What came of a slice.
#[derive(Clone, Debug)]
pub(super) struct Outcome {
    /// Orders that were accepted.
    pub(super) accepted: u64,
    /// From the first request to the last answer.
    pub(super) ordering: Duration,
    /// From the first request to the last effect.
    pub(super) whole: Duration,
    /// What everybody used until then, and until the last span was sent.
    pub(super) spent: Spent,
    /// Spans that the collector took.
    pub(super) exported: u64,
    /// Spans that are lost.
    pub(super) dropped: u64,
}

impl Outcome {
    /// Orders accepted per second, while clients ordered.
    pub(super) fn accepted_rate(&self) -> f64 {
        self.accepted as f64 / self.ordering.as_secs_f64().max(1e-9)
    }

    /// Orders per second that went through with all effects, from the first request to the last effect.
    pub(super) fn whole_rate(&self) -> f64 {
        self.accepted as f64 / self.whole.as_secs_f64().max(1e-9)
    }

    /// An error if nothing was ordered, or spans were or were not recorded against what was asked for.
    pub(super) fn check(&self, sampled: bool) -> anyhow::Result<()> {
        if self.accepted == 0 {
            bail!("no order was accepted");
        }
        if sampled && self.exported == 0 {
            bail!("orders were sampled, and the collector took no span");
        }
        if !sampled && self.exported + self.dropped > 0 {
            bail!("no order was sampled, and {} spans were recorded", self.exported + self.dropped);
        }
        Ok(())
    }
}

impl Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}/s accepted, {}/s through, {} spans exported, {} dropped",
            number(self.accepted_rate()),
            number(self.whole_rate()),
            self.exported,
            self.dropped
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_there_if_and_only_if_something_was_sampled() {
        let outcome = |accepted, exported, dropped| Outcome {
            accepted,
            ordering: Duration::from_secs(1),
            whole: Duration::from_secs(2),
            spent: Spent::default(),
            exported,
            dropped,
        };
        assert!(outcome(10, 5, 1).check(true).is_ok());
        assert!(outcome(10, 0, 0).check(false).is_ok());
        assert!(outcome(0, 5, 0).check(true).is_err());
        assert!(outcome(10, 0, 9).check(true).is_err());
        assert!(outcome(10, 0, 1).check(false).is_err());
        assert_eq!(outcome(10, 0, 0).whole_rate(), 5.0);
    }
}
