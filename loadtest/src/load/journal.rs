//! What came of all requests, in bounded memory but for the ids of the orders.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::mem::take;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use uuid::Uuid;

use super::latency::{Latencies, Summary};
use super::request::{Answer, Kind, Outcome, Refusal};

/// Where clients write down what came of their requests, and where it is read while they go on.
///
/// Latencies are those of requests that were answered well and of those that got no answer at all, which count with the time that was waited.
/// An answer that says no has none: it is often quick, and would make the others look better.
#[derive(Debug, Default)]
pub struct Journal(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Since counting began.
    totals: Totals,
    second: Second,
    current: BTreeMap<Kind, Latencies>,
    ledger: Ledger,
}

/// Sums since counting began.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    /// As the clients saw them.
    pub latencies: BTreeMap<Kind, Latencies>,
    /// By the server's own clock, as it says in its answers.
    pub server: BTreeMap<Kind, Latencies>,
    /// Requests that ended well.
    pub good: u64,
    /// Requests that did not, by what came instead.
    pub errors: BTreeMap<Cow<'static, str>, u64>,
    /// Product reads that were answered.
    pub reads: u64,
    /// Those of them that came from the cache.
    pub hits: u64,
}

/// One second of a load.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Second {
    /// Requests that ended well in it.
    pub good: u64,
    /// Requests that did not, and those that could not be started.
    pub failed: u64,
    /// Product reads that were answered.
    pub reads: u64,
    /// Those of them that came from the cache.
    pub hits: u64,
    /// Latencies of product reads that ended in it.
    pub products: Option<Summary>,
    /// Latencies of orders that ended in it.
    pub orders: Option<Summary>,
}

/// What has to be found again when everything is over. Counts from the first request, whether it was measured or not.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// Orders that stand, as their clients were told.
    pub accepted: Vec<Uuid>,
    /// Orders that may stand: no answer came, or one that does not tell.
    pub in_doubt: u64,
    /// Orders that stand although a step after them failed, as their clients were told.
    pub steps_failed: u64,
}

/// It could not be started in time: all connections were busy.
const NOT_STARTED: &str = "not started in time";

impl Journal {
    /// Writes down what came of a request after `latency`.
    pub fn record(&self, kind: Kind, answer: &Answer, latency: Duration) {
        let mut state = self.state();
        let state = &mut *state;
        if let Outcome::Product { from_cache } = answer.outcome {
            let hit = u64::from(from_cache);
            state.totals.reads += 1;
            state.totals.hits += hit;
            state.second.reads += 1;
            state.second.hits += hit;
        }
        if let Some(server) = answer.server {
            state.totals.server.entry(kind).or_default().record(server);
        }
        if !matches!(answer.outcome, Outcome::Refused { .. }) {
            state.totals.latencies.entry(kind).or_default().record(latency);
            state.current.entry(kind).or_default().record(latency);
        }
        match error(&answer.outcome) {
            None => {
                state.totals.good += 1;
                state.second.good += 1;
            }
            Some(error) => {
                *state.totals.errors.entry(error).or_default() += 1;
                state.second.failed += 1;
            }
        }
        if kind == Kind::Orders {
            state.ledger.note(&answer.outcome);
        }
    }

    /// Writes down that a request could not be started.
    pub fn not_started(&self) {
        let mut state = self.state();
        *state.totals.errors.entry(NOT_STARTED.into()).or_default() += 1;
        state.second.failed += 1;
    }

    /// The second that ends now; another one begins.
    pub fn turn(&self) -> Second {
        let mut state = self.state();
        let mut second = take(&mut state.second);
        let mut summary = |kind| {
            let latencies = state.current.get_mut(&kind).filter(|latencies| latencies.count() > 0)?;
            let summary = latencies.summary();
            latencies.clear();
            Some(summary)
        };
        (second.products, second.orders) = (summary(Kind::Products), summary(Kind::Orders));
        second
    }

    /// Sums begin anew: what was before was for warming up.
    pub fn begin(&self) {
        self.state().totals = Totals::default();
    }

    /// Sums since they began.
    pub fn totals(&self) -> Totals {
        self.state().totals.clone()
    }

    /// What has to be found again. To be taken once, when everything is over.
    pub fn take_ledger(&self) -> Ledger {
        take(&mut self.state().ledger)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics half-way through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Totals {
    /// Requests that ended, well or not, and those that could not be started.
    pub fn requests(&self) -> u64 {
        self.good + self.errors.values().sum::<u64>()
    }

    /// The latencies of all requests.
    pub fn all(&self) -> Latencies {
        let mut all = Latencies::default();
        self.latencies.values().for_each(|latencies| all.add(latencies));
        all
    }

    /// The part of the reads that came from the cache; `None` if there were none.
    pub fn hit_rate(&self) -> Option<f64> {
        (self.reads > 0).then(|| self.hits as f64 / self.reads as f64)
    }

    /// The part of the requests that did not end well.
    pub fn failure_rate(&self) -> f64 {
        let requests = self.requests();
        if requests == 0 { 0.0 } else { (requests - self.good) as f64 / requests as f64 }
    }
}

impl Ledger {
    fn note(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Accepted { order_id, step_failed } => {
                self.accepted.push(*order_id);
                self.steps_failed += u64::from(*step_failed);
            }
            Outcome::Refused { may_stand: true, .. } | Outcome::Unanswered(_) => self.in_doubt += 1,
            Outcome::Refused { .. } | Outcome::Product { .. } => {}
        }
    }

    /// Adds what another load left.
    pub fn add(&mut self, more: Self) {
        self.accepted.extend(more.accepted);
        self.in_doubt += more.in_doubt;
        self.steps_failed += more.steps_failed;
    }
}

/// What a request that did not end well is counted as.
fn error(outcome: &Outcome) -> Option<Cow<'static, str>> {
    Some(match outcome {
        Outcome::Product { .. } | Outcome::Accepted { step_failed: false, .. } => return None,
        Outcome::Accepted { step_failed: true, .. } => "accepted, but a step failed".into(),
        Outcome::Refused { refusal: Refusal::Overloaded, .. } => "503 overloaded".into(),
        Outcome::Refused { refusal: Refusal::OutcomeUnknown, .. } => "503 outcome unknown".into(),
        Outcome::Refused { refusal: Refusal::Unavailable, .. } => "503 unavailable".into(),
        Outcome::Refused { status, .. } if (200..300).contains(status) => "not an answer of a shop".into(),
        Outcome::Refused { status, .. } => format!("status {status}").into(),
        Outcome::Unanswered(failure) => failure.to_string().into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::http::Failure;

    fn answer(outcome: Outcome) -> Answer {
        Answer { outcome, server: Some(Duration::from_micros(10)) }
    }

    fn refused(status: u16, refusal: Refusal, may_stand: bool) -> Answer {
        answer(Outcome::Refused { status, refusal, may_stand })
    }

    #[test]
    fn a_quick_no_does_not_make_latencies_better_and_a_request_without_an_answer_makes_them_worse() {
        let journal = Journal::default();
        let second = Duration::from_secs(1);
        journal.record(Kind::Products, &answer(Outcome::Product { from_cache: true }), second);
        journal.record(Kind::Products, &refused(503, Refusal::Overloaded, false), Duration::from_micros(1));
        journal.record(Kind::Products, &answer(Outcome::Unanswered(Failure::Timeout)), second * 10);
        let totals = journal.totals();
        let summary = totals.all().summary();
        assert_eq!(summary.count, 2);
        assert!((summary.p50_ms - 1e3).abs() < 1.0 && (summary.max_ms - 1e4).abs() < 10.0, "{summary:?}");
        assert_eq!((totals.requests(), totals.good), (3, 1));
        assert!((totals.failure_rate() - 2.0 / 3.0).abs() < 1e-9);
    }

    #[test]
    fn errors_are_told_apart_and_what_could_not_be_started_is_one() {
        let journal = Journal::default();
        journal.not_started();
        for failed in [
            refused(503, Refusal::Overloaded, false),
            refused(503, Refusal::OutcomeUnknown, true),
            refused(503, Refusal::Unavailable, false),
            refused(500, Refusal::Other, true),
            refused(404, Refusal::Other, false),
        ] {
            journal.record(Kind::Orders, &failed, Duration::ZERO);
        }
        let order_id = Uuid::new_v4();
        let incomplete = answer(Outcome::Accepted { order_id, step_failed: true });
        journal.record(Kind::Orders, &incomplete, Duration::ZERO);
        let totals = journal.totals();
        let errors: Vec<_> = totals.errors.iter().map(|(name, count)| (name.as_ref(), *count)).collect();
        let expected = [
            "503 outcome unknown",
            "503 overloaded",
            "503 unavailable",
            "accepted, but a step failed",
            "not started in time",
            "status 404",
            "status 500",
        ];
        assert_eq!(errors, expected.map(|name| (name, 1)));
        let ledger = journal.take_ledger();
        assert_eq!((ledger.accepted, ledger.in_doubt, ledger.steps_failed), (vec![order_id], 2, 1));
    }

    #[test]
    fn sums_begin_anew_after_warming_up_but_no_order_is_forgotten() {
        let journal = Journal::default();
        let accepted = answer(Outcome::Accepted { order_id: Uuid::new_v4(), step_failed: false });
        journal.record(Kind::Orders, &accepted, Duration::from_millis(1));
        journal.begin();
        assert_eq!(journal.totals().requests(), 0);
        let second = journal.turn();
        assert_eq!((second.good, second.orders.map(|orders| orders.count)), (1, Some(1)));
        assert_eq!(journal.turn(), Second::default());
        assert_eq!(journal.take_ledger().accepted.len(), 1);
    }
}
