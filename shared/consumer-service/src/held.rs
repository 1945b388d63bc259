//! Held keys, kept in the consumer's database.

use futures::future::BoxFuture;
use messaging::consumer::{HeldKeys, Place, SourceRecord};
use persistence::held::{self, HeldRows};

/// What the runtime asks, put to the rows.
#[derive(Debug)]
pub(crate) struct InDatabase(pub(crate) HeldRows);

impl HeldKeys for InDatabase {
    fn places<'a>(&'a self, records: &'a [SourceRecord]) -> BoxFuture<'a, Result<Vec<Place>, String>> {
        Box::pin(async move {
            let places = self.0.places(&rows(records)).await.map_err(reason)?;
            Ok(places.into_iter().map(place).collect())
        })
    }

    fn hold<'a>(&'a self, records: &'a [SourceRecord]) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move { self.0.hold(&rows(records)).await.map_err(reason) })
    }

    fn release<'a>(&'a self, records: &'a [SourceRecord]) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move { self.0.release(&rows(records)).await.map_err(reason) })
    }
}

fn rows(records: &[SourceRecord]) -> Vec<held::Record> {
    let row = |record: &SourceRecord| held::Record {
        topic: record.topic.clone(),
        key: record.key.clone(),
        offset: record.offset,
    };
    records.iter().map(row).collect()
}

fn place(place: held::Place) -> Place {
    match place {
        held::Place::Free => Place::Free,
        held::Place::First => Place::First,
        held::Place::Behind => Place::Behind,
    }
}

fn reason(error: sqlx::Error) -> String {
    format!("held keys: {error}")
}
