//! Removing what Kafka has, beside whatever else the database is asked.
//!
//! A claim may be on its way meanwhile. It cannot bring a row back that is being removed: such a row was in hand when the claim was asked for,
//! and so it was told to leave it out. Should such a row not be removed after all, because its bucket was lost when the statement ran, and have
//! been won back since, then the claim has passed it by: the bucket is read anew.

use std::collections::BTreeSet;
use std::time::Duration;

use persistence::outbox::{self, RowId};
use tokio::time::Instant;

use super::rows::PATIENCE;
use super::{Work, in_time};
use crate::point::Point;
use crate::status::Side;

/// So many rows are removed at once, and not later: then the statement itself costs little.
const BULK: usize = 512;
/// Fewer rows wait so long for company, since nobody waits for them.
const SPACING: Duration = Duration::from_millis(10);

/// What became of rows that were to be removed.
pub(super) struct Settled {
    rows: Vec<RowId>,
    outcome: Result<u64, sqlx::Error>,
}

impl Work {
    /// When rows are to be removed, if nothing keeps it up.
    pub(super) fn settling_is_due(&self) -> Option<Instant> {
        if !self.settling.is_free() || self.lanes.to_settle() == 0 || self.is_giving_back() {
            return None;
        }
        let at_once = self.lanes.to_settle() >= BULK || self.stopping || !self.leaving.is_empty();
        let due = if at_once { self.last_settled } else { self.last_settled + SPACING };
        Some(self.database_rests.map_or(due, |rests| rests.max(due)))
    }

    pub(super) async fn start_settling(&mut self, now: Instant) {
        if self.settling_is_due().is_none_or(|due| now < due) {
            return;
        }
        self.reached(Point::Acknowledged).await;
        self.last_settled = now;
        let (removing, lease, rows) =
            (self.removing.clone(), self.lease.clone(), self.lanes.take_acknowledged());
        self.settling.start(async move {
            let outcome = in_time(PATIENCE, async {
                let mut connection = removing.connection().await?;
                let removed = outbox::settle(&mut *connection, &lease, &rows).await?;
                removing.keep(connection);
                Ok(removed)
            })
            .await;
            Settled { rows, outcome }
        });
    }

    pub(super) fn settled(&mut self, Settled { rows, outcome }: Settled) {
        match &outcome {
            Ok(removed) => {
                self.status.metrics.removed.inc_by(*removed);
                self.lanes.settled(&rows);
                if usize::try_from(*removed).is_ok_and(|removed| removed < rows.len()) {
                    let buckets: BTreeSet<i16> = rows.iter().map(|row| row.bucket).collect();
                    buckets.into_iter().for_each(|bucket| self.horizon.read_anew(bucket));
                    self.claims.at_once(Instant::now());
                }
            }
            Err(_) => self.lanes.not_settled(rows),
        }
        self.database_answered(Side::Removal, outcome.map(drop));
    }
}
