//! Holding a fair share of the buckets.

use std::collections::BTreeMap;
use std::time::Duration;

use persistence::outbox::{self, BUCKETS, Holding, Lease, Tended};
use sqlx::PgPool;
use tokio::time::Instant;
use tracing::{info, warn};

use super::{Work, in_time};
use crate::status::Side;

/// What came of looking after the leases.
pub(super) struct Tending {
    asked: Instant,
    outcome: Result<Tended, sqlx::Error>,
}

/// The buckets that a relay may hold when `others` are alive too.
fn fair_share(others: u64) -> usize {
    BUCKETS.div_ceil(usize::try_from(others).unwrap_or(usize::MAX).saturating_add(1))
}

impl Work {
    /// Renews the registration when it is time, or sooner when buckets can be given back.
    pub(super) fn start_tending(&mut self, now: Instant) {
        if !self.tending.is_free() || self.stopping {
            return;
        }
        let clear = self.clear_of_work();
        if now < self.next_tending && clear.is_empty() {
            return;
        }
        let part = self.lease.part(&clear);
        for bucket in clear {
            self.leaving.remove(&bucket);
            self.lease.remove(bucket);
        }
        self.next_tending = now + self.settings.tending;
        let marks = self.new_marks();
        let marked = self.lease.part(&marks.keys().copied().collect::<Vec<_>>());
        let marks = marks.into_values().collect();
        self.tending.start(tend(self.pool.clone(), part, (marked, marks), self.settings.lease));
    }

    /// Marks that are worth being written.
    fn new_marks(&mut self) -> BTreeMap<i16, i64> {
        // The statement that takes released keys up ends what keeps marks below their rows.
        if self.released {
            return BTreeMap::new();
        }
        let settled_below = self.lanes.settled_below();
        let mut marks = self.horizon.marks();
        marks.retain(|bucket, mark| {
            if let Some(first) = settled_below.get(bucket) {
                *mark = first.saturating_sub(1).min(*mark);
            }
            let written = self.marks.entry(*bucket).or_default();
            let moved = mark.saturating_sub(*written) >= self.settings.mark_every;
            if moved {
                *written = *mark;
            }
            moved
        });
        marks
    }

    /// Whether a bucket is done with that another relay waits for. Nothing about rows is begun then until it is given back: when the
    /// database is what is slow, statements would otherwise follow each other without the gap that giving back needs.
    pub(super) fn is_giving_back(&self) -> bool {
        if self.leaving.is_empty() || self.stopping {
            return false;
        }
        let busy = self.lanes.buckets();
        self.leaving.iter().any(|bucket| !busy.contains(bucket))
    }

    /// Buckets that can be given back.
    fn clear_of_work(&self) -> Vec<i16> {
        // A statement that is on its way may still concern them.
        if self.leaving.is_empty() || !self.database.is_free() || !self.settling.is_free() {
            return Vec::new();
        }
        let busy = self.lanes.buckets();
        self.leaving.iter().copied().filter(|bucket| !busy.contains(bucket)).collect()
    }

    pub(super) fn tended(&mut self, tending: Tending) {
        let tended = match tending.outcome {
            Ok(tended) => tended,
            Err(error) => return self.trouble(Side::Leases, format!("database: {error}")),
        };
        self.well(Side::Leases);
        self.ends = tending.asked + self.settings.lease;
        self.released |= tended.released;
        self.status.blocked(tended.blocked);
        self.hold(tended.held);
        self.shrink_to(fair_share(tended.others));
        self.status.holds(self.lease.len());
    }

    /// Takes note of the buckets that are really held.
    fn hold(&mut self, held: BTreeMap<i16, Holding>) {
        let epoch = |bucket: &i16| held.get(bucket).map(|holding| holding.epoch);
        let lost: Vec<i16> =
            self.lease.buckets().filter(|bucket| epoch(bucket) != self.lease.epoch(*bucket)).collect();
        if !lost.is_empty() {
            warn!(buckets = lost.len(), "other relays took over");
        }
        for bucket in lost {
            self.drop_bucket(bucket);
            self.leaving.remove(&bucket);
            self.lease.remove(bucket);
        }
        let gained: Vec<(i16, Holding)> =
            held.into_iter().filter(|(bucket, _)| self.lease.epoch(*bucket).is_none()).collect();
        if gained.is_empty() {
            return;
        }
        info!(buckets = gained.len(), "leases taken");
        for (bucket, Holding { mark, .. }) in &gained {
            self.horizon.add(*bucket, *mark);
            self.marks.insert(*bucket, *mark);
        }
        self.lease.extend(gained);
        self.claims.at_once(Instant::now());
    }

    /// Stops taking rows of what is beyond the share; it is given back when its last row is settled.
    fn shrink_to(&mut self, share: usize) {
        let surplus = (self.lease.len() - self.leaving.len()).saturating_sub(share);
        let highest = self.lease.buckets().rev().filter(|bucket| !self.leaving.contains(bucket));
        let surplus: Vec<i16> = highest.take(surplus).collect();
        for bucket in surplus {
            self.drop_bucket(bucket);
            self.leaving.insert(bucket);
        }
    }

    fn drop_bucket(&mut self, bucket: i16) {
        self.lanes.leave(bucket);
        self.horizon.remove(bucket);
    }
}

async fn tend(pool: PgPool, part: Lease, (marked, marks): (Lease, Vec<i64>), lease: Duration) -> Tending {
    let asked = Instant::now();
    let outcome = in_time(lease, async {
        if !part.is_empty() {
            outbox::give_back(&pool, &part).await?;
        }
        if !marks.is_empty() {
            outbox::remember(&pool, &marked, &marks).await?;
        }
        let owner = part.owner();
        let mut tended = outbox::tend(&pool, owner, lease).await?;
        let wanted = fair_share(tended.others).saturating_sub(tended.held.len());
        if wanted > 0 && tended.free > 0 {
            tended.held.extend(outbox::take(&pool, owner, wanted).await?);
        }
        Ok(tended)
    })
    .await;
    Tending { asked, outcome }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fair_shares_cover_all_buckets_and_leave_nobody_out() {
        for relays in 1..=64u64 {
            let share = fair_share(relays - 1);
            assert!(share * usize::try_from(relays).unwrap() >= BUCKETS && share >= 1, "{relays}");
        }
        assert_eq!((fair_share(0), fair_share(1), fair_share(2)), (64, 32, 22));
    }
}
