//! Towards rows that wait: claiming them, blocking their keys.

use std::collections::BTreeSet;
use std::time::Duration;

use persistence::outbox::{self, BUCKETS, Claim, Row};
use tokio::time::Instant;
use uuid::Uuid;

use super::sweeps::Sweeps;
use super::{Work, in_time};
use crate::horizon::Plan;
use crate::lanes::{CROWD, Refill};
use crate::point::Point;
use crate::relay::RelaySettings;
use crate::status::Side;

/// Longer than the server gives such a statement.
pub(super) const PATIENCE: Duration = Duration::from_secs(65);
/// Payloads that one claim should bring at most, judged by the size of those before.
const CLAIM_BYTES: usize = 16 << 20;
/// What the first payloads are taken to be.
const LARGE_PAYLOAD: usize = 16 << 10;
/// While nothing comes, the next claim follows after this part of the time for which nothing came.
const PATIENT: u32 = 4;
/// Claims are at least this far apart, unless the last one left rows behind.
const SPACING: Duration = Duration::from_millis(2);

/// When to claim next, and how much.
pub(super) struct Claims {
    pub(super) next: Instant,
    last: Instant,
    poked: Instant,
    /// The last claim that brought something was asked for then.
    found: Instant,
    sweeps: Sweeps,
    payload: usize,
}

impl Claims {
    pub(super) fn new(now: Instant, settings: &RelaySettings) -> Self {
        Self {
            next: now,
            last: now,
            poked: now,
            found: now,
            sweeps: Sweeps::new(settings.sweep, now),
            payload: LARGE_PAYLOAD,
        }
    }

    /// Rows were committed.
    pub(super) fn hurry(&mut self, now: Instant) {
        self.poked = now;
        self.next = self.next.min(now.max(self.last + SPACING));
    }

    /// The claim that was asked for last has been answered; the next one is wanted at `next`.
    fn schedule(&mut self, next: Instant) {
        // The rows of a poke that came meanwhile may have been committed too late for it.
        self.next = if self.poked < self.last { next } else { next.min(self.last + SPACING) };
    }

    /// There are buckets that were never read, or are to be read anew.
    pub(super) fn at_once(&mut self, now: Instant) {
        self.next = now;
    }

    /// Rows of each bucket that fit into a claim.
    fn per_bucket(&self, settings: &RelaySettings, buckets: usize) -> usize {
        let fit = CLAIM_BYTES / self.payload.max(1) / buckets.max(1);
        fit.clamp(1, settings.per_bucket * BUCKETS / buckets.max(1))
    }

    /// From a claim that brought nothing to the next: a part of the time since one did, so that a short gap between commits does not become a
    /// long one between claims.
    fn idle(&self, settings: &RelaySettings) -> Duration {
        let quiet = self.last.saturating_duration_since(self.found);
        (quiet / PATIENT).clamp(settings.shortest_idle, settings.longest_idle)
    }

    fn learn(&mut self, rows: &[Row]) {
        if let Some(mean) = rows.iter().map(|row| row.payload.len()).sum::<usize>().checked_div(rows.len()) {
            // Grows at once, shrinks step by step.
            self.payload = mean.max(self.payload / 2).max(1);
        }
    }
}

/// What the database was asked and answered.
pub(super) enum Done {
    Claimed {
        plan: Plan,
        per_bucket: usize,
        asked: Instant,
        swept: BTreeSet<i16>,
        outcome: Result<Claim, sqlx::Error>,
    },
    Refilled {
        refill: Refill,
        outcome: Result<Vec<Row>, sqlx::Error>,
    },
    Blocked {
        key: Uuid,
        refusal: (Row, String),
        outcome: Result<(), sqlx::Error>,
    },
    TakenUp(Result<u64, sqlx::Error>),
}

impl Work {
    pub(super) fn can_claim(&self) -> bool {
        !self.stopping
            && !self.horizon.is_empty()
            && self.lanes.waiting() < self.settings.in_flight
            && self.lanes.to_settle() < self.settings.in_flight
    }

    /// Asks the next thing, if nothing is being asked.
    pub(super) fn ask_database(&mut self, now: Instant) {
        if !self.database.is_free()
            || self.is_giving_back()
            || self.database_rests.is_some_and(|rests| now < rests)
        {
            return;
        }
        self.database_rests = None;
        let asking = self.asking.clone();
        if let Some(refusal) = self.refused.pop_front() {
            let (lease, key) = (self.lease.clone(), refusal.0.aggregate_id);
            return self.database.start(async move {
                let outcome = in_time(PATIENCE, async {
                    let mut connection = asking.connection().await?;
                    outbox::block(&mut *connection, &lease, &refusal.0, &refusal.1).await?;
                    asking.keep(connection);
                    Ok(())
                })
                .await;
                Done::Blocked { key, refusal, outcome }
            });
        }
        if std::mem::take(&mut self.released) && !self.stopping {
            // Their rows are behind what was read. Before the statement, so that no mark is made of what was read until then.
            self.horizon.read_all_anew();
            self.claims.at_once(now);
            let lease = self.lease.clone();
            return self.database.start(async move {
                let outcome = in_time(PATIENCE, async {
                    let mut connection = asking.connection().await?;
                    let taken_up = outbox::take_up_released(&mut *connection, &lease).await?;
                    asking.keep(connection);
                    Ok(taken_up)
                });
                Done::TakenUp(outcome.await)
            });
        }
        if let Some(refill) = self.lanes.thinned().filter(|_| !self.stopping) {
            return self.database.start(async move {
                let Refill { bucket, key, after } = refill;
                let outcome = in_time(PATIENCE, async {
                    let mut connection = asking.connection().await?;
                    let rows = outbox::claim_key(&mut *connection, bucket, key, after, CROWD as i64).await?;
                    asking.keep(connection);
                    Ok(rows)
                });
                Done::Refilled { refill, outcome: outcome.await }
            });
        }
        if self.can_claim() && self.claims.next <= now {
            self.claim(now);
        }
    }

    fn claim(&mut self, now: Instant) {
        let swept = self.claims.sweeps.due(now, &self.horizon.buckets());
        let plan = self.horizon.plan(now, &swept);
        let per_bucket = self.claims.per_bucket(&self.settings, plan.starts.len());
        let (in_hand, crowded) = (self.lanes.in_the_way_of(&plan.starts), self.lanes.crowded());
        let asking = self.asking.clone();
        self.claims.last = now;
        self.database.start(async move {
            let limit = i64::try_from(per_bucket).unwrap_or(i64::MAX);
            let outcome = in_time(PATIENCE, async {
                let mut connection = asking.connection().await?;
                let claim = outbox::claim(&mut *connection, &plan.starts, &in_hand, &crowded, limit).await?;
                asking.keep(connection);
                Ok(claim)
            })
            .await;
            Done::Claimed { plan, per_bucket, asked: now, swept, outcome }
        });
    }

    pub(super) async fn answered(&mut self, done: Done) {
        let outcome = match done {
            Done::Claimed { plan, per_bucket, asked, swept, outcome } => match outcome {
                Ok(claim) => {
                    let (held, now) = (plan.starts.len(), Instant::now());
                    if self.claimed(&plan, claim, per_bucket, (asked, now)).await {
                        self.claims.sweeps.done(&swept, held, asked, now);
                    }
                    Ok(())
                }
                Err(error) => Err(error),
            },
            Done::Refilled { refill, outcome } => outcome.map(|rows| {
                let all = rows.len() < CROWD;
                self.status.metrics.claimed.inc_by(rows.len() as u64);
                self.lanes.refill(refill, rows, all);
            }),
            Done::Blocked { key, refusal, outcome } => match outcome {
                Ok(()) => {
                    self.lanes.blocked(key);
                    Ok(())
                }
                Err(error) => {
                    self.refused.push_front(refusal);
                    Err(error)
                }
            },
            Done::TakenUp(outcome) => {
                // Nothing may be read on before it is known that no key becomes free behind that.
                self.released |= outcome.is_err();
                outcome.map(drop)
            }
        };
        self.database_answered(Side::Database, outcome);
    }

    pub(super) fn database_answered(&mut self, side: Side, outcome: Result<(), sqlx::Error>) {
        match outcome {
            Ok(()) => self.well(side),
            Err(error) => {
                self.database_rests = Some(Instant::now() + self.settings.pause);
                self.trouble(side, format!("database: {error}"));
            }
        }
    }

    /// Returns whether the claim could be used.
    async fn claimed(
        &mut self,
        plan: &Plan,
        claim: Claim,
        per_bucket: usize,
        (asked, now): (Instant, Instant),
    ) -> bool {
        let Some(observed) = self.horizon.observe(plan, &claim.snapshot, claim.rows, per_bucket, now) else {
            self.claims.next = now;
            return false;
        };
        self.claims.learn(&observed.rows);
        if observed.rows.is_empty() {
            if self.lanes.waiting() == 0 {
                self.well(Side::Kafka);
            }
            self.claims.schedule(asked + self.claims.idle(&self.settings));
            return true;
        }
        self.claims.found = asked;
        self.claims.schedule(if observed.more { now } else { asked + self.settings.shortest_idle });
        self.status.metrics.claimed.inc_by(observed.rows.len() as u64);
        self.lanes.add(observed.rows);
        self.reached(Point::Claimed).await;
        true
    }
}
