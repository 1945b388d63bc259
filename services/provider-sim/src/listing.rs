//! `GET /api/journal`: every decision, in pages, for whoever compares books.
//!
//! Read from the file, so that a listing of millions costs no memory here.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Json as Answer;
use chrono::{DateTime, Utc};
use serde::Serialize;
use service_runtime::problem::Problem;

use crate::channel::Channel;
use crate::journal::{self, PageError};
use crate::ledger::{Entry, Outcome};
use crate::provider::Provider;

/// Entries in a page, if the caller does not say.
const USUAL: u64 = 1_000;
const LIMITS: RangeInclusive<u64> = 1..=10_000;

/// A page of the journal.
#[derive(Serialize)]
pub(crate) struct Page {
    entries: Vec<Line>,
    /// `after` of the next page.
    next: u64,
    /// Where the journal ends by now: when `next` is there, everything was listed.
    end: u64,
}

/// What others need of an entry: no recipient, not even a masked one.
#[derive(Serialize)]
struct Line {
    at: DateTime<Utc>,
    channel: Channel,
    outcome: Outcome,
    key: Option<String>,
    order_id: Option<String>,
}

impl From<Entry> for Line {
    fn from(entry: Entry) -> Self {
        let Entry { at, channel, outcome, key, order_id, .. } = entry;
        Self { at, channel, outcome, key, order_id }
    }
}

/// `GET /api/journal?after=0&limit=1000`: oldest first.
pub(crate) async fn get(
    State(provider): State<Arc<Provider>>,
    Query(parameters): Query<HashMap<String, String>>,
) -> Result<Answer<Page>, Problem> {
    let after = number(&parameters, "after", 0, 0..=u64::MAX)?;
    let limit = number(&parameters, "limit", USUAL, LIMITS)?;
    let (path, end) = provider.journal();
    let read = tokio::task::spawn_blocking(move || journal::page(&path, after, end, limit)).await;
    match read.map_err(|_| Problem::internal())? {
        Ok((entries, next)) => {
            Ok(Answer(Page { entries: entries.into_iter().map(Line::from).collect(), next, end }))
        }
        Err(PageError::NotABeginning) => Err(wrong("after", "must be 0 or the next of another page")),
        Err(PageError::Unreadable(error)) => {
            tracing::error!(%error, "the journal cannot be listed");
            Err(Problem::unavailable("The journal cannot be read"))
        }
    }
}

fn number(
    parameters: &HashMap<String, String>,
    name: &str,
    usual: u64,
    accepted: RangeInclusive<u64>,
) -> Result<u64, Problem> {
    let Some(text) = parameters.get(name) else { return Ok(usual) };
    text.parse().ok().filter(|number| accepted.contains(number)).ok_or_else(|| {
        let (least, most) = (accepted.start(), accepted.end());
        wrong(name, &format!("must be a whole number from {least} to {most}"))
    })
}

fn wrong(name: &str, expected: &str) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, format!("{name} {expected}")).parameter(name, expected)
}
