//! What goes together, and how it comes apart again.

use std::collections::HashSet;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use sqlx::PgPool;
use tokio::time::timeout;

use super::{Taken, store};
use crate::errors;
use crate::grouped::GroupWork;
use crate::inbox::{self, Arrival, Event};
use crate::sql::Shared;

/// For a group. The server ends its own statements sooner; this is for one that fell silent.
const TIME: Duration = Duration::from_secs(15);

/// Look-ups.
pub(super) struct Looks(pub(super) PgPool);

impl GroupWork for Looks {
    type Item = Event;
    type Outcome = Shared<Arrival>;

    async fn carry_out(&self, events: Vec<Event>) -> Vec<Shared<Arrival>> {
        match in_time(inbox::arrivals(&self.0, &events)).await {
            Ok(arrivals) => shared(arrivals.into_iter().map(Ok), events.len()),
            Err(error) => all_failed(&Arc::new(error), events.len()),
        }
    }
}

/// Rows of messages that were taken.
pub(super) struct Notes(pub(super) PgPool);

impl GroupWork for Notes {
    type Item = Taken;
    type Outcome = Shared<Arrival>;

    async fn carry_out(&self, taken: Vec<Taken>) -> Vec<Shared<Arrival>> {
        let mut ids = HashSet::new();
        if taken.iter().all(|taken| ids.insert(taken.event.id)) {
            return self.note(taken).await;
        }
        // Twins: which is first is decided one after the other, as if they had not met here.
        self.one_by_one(taken).await
    }
}

impl Notes {
    async fn note(&self, taken: Vec<Taken>) -> Vec<Shared<Arrival>> {
        match in_time(self.insert(&taken)).await {
            Ok(arrivals) => shared(arrivals.into_iter().map(Ok), taken.len()),
            // Of one of them, perhaps: nobody else is to suffer for it.
            Err(error) if taken.len() > 1 && errors::is_fault_of_the_data(&error) => {
                self.one_by_one(taken).await
            }
            Err(error) => all_failed(&Arc::new(error), taken.len()),
        }
    }

    async fn one_by_one(&self, taken: Vec<Taken>) -> Vec<Shared<Arrival>> {
        let items = taken.len();
        let mut outcomes = Vec::with_capacity(items);
        for one in taken {
            let result = in_time(self.insert(&[one])).await;
            let result = result.and_then(|mut arrivals| arrivals.pop().ok_or_else(inbox::no_horizon));
            let outcome = Shared { items: 1, result: result.map_err(Arc::new) };
            let away = outcome.result.as_ref().is_err_and(|error| !errors::is_fault_of_the_data(error));
            outcomes.push(outcome.clone());
            if away {
                // The others need not find out one after the other, each in its own time.
                outcomes.resize(items, outcome);
                break;
            }
        }
        outcomes
    }

    async fn insert(&self, taken: &[Taken]) -> Result<Vec<Arrival>, sqlx::Error> {
        let mut connection = self.0.acquire().await?;
        store::insert(&mut connection, taken).await
    }
}

async fn in_time<T>(work: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, sqlx::Error> {
    timeout(TIME, work).await.unwrap_or_else(|_| Err(sqlx::Error::Io(io::ErrorKind::TimedOut.into())))
}

fn shared(
    results: impl Iterator<Item = Result<Arrival, Arc<sqlx::Error>>>,
    items: usize,
) -> Vec<Shared<Arrival>> {
    results.map(|result| Shared { items, result }).collect()
}

fn all_failed(error: &Arc<sqlx::Error>, items: usize) -> Vec<Shared<Arrival>> {
    shared((0..items).map(|_| Err(error.clone())), items)
}
