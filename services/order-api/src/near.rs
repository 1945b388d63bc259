//! Products in this process's own memory, as long as Redis is known to tell us of changes.
//!
//! Redis remembers what a connection read and tells it when that changes (`CLIENT TRACKING`). On a connection, answers and such messages come in
//! the order in which Redis made them. So whoever has an answer to a command that was sent at a moment `t` knows of every change before `t`, and what
//! is kept here is at most as old as the last such `t`. That is the lease: products are served for a short time after the last command that was
//! answered, and no longer, whatever happened to Redis or to the way there. While there are reads, one of them goes to Redis all the same when half of
//! the lease is over, which renews it for all; nothing has to be sent while there are none.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use product_cache::Entry;
use redis::{PushInfo, PushKind, Value};

/// Products kept at most; another one takes the place of any.
const PRODUCTS: usize = 4096;
/// The longest product that is kept, in bytes. Together with the above: the most memory that this can take.
const PRODUCT_BYTES: usize = 4096;

/// Shared by the cache, which reads, and the connection, which hears of changes.
pub(crate) struct Near {
    lease: Duration,
    began: Instant,
    /// When somebody last went to Redis in order to renew the lease, in microseconds since `began`.
    renewed: AtomicU64,
    kept: RwLock<Kept>,
}

struct Kept {
    /// The connection that tells of changes. `None`: nobody does, and nothing is kept.
    connection: Option<u64>,
    /// Grows with every message about a change.
    changes: u64,
    /// Until when products may be served.
    until: Instant,
    products: HashMap<i32, (Arc<Entry>, Instant)>,
}

/// What was known when a read was sent to Redis; see [`Near::keep`].
#[derive(Clone, Copy)]
pub(crate) struct Ticket {
    connection: u64,
    changes: u64,
    sent: Instant,
}

impl Near {
    /// With a lease of 0 nothing is ever served from here.
    pub(crate) fn new(lease: Duration) -> Arc<Self> {
        let began = Instant::now();
        let kept = Kept { connection: None, changes: 0, until: began, products: HashMap::new() };
        Arc::new(Self { lease, began, renewed: AtomicU64::new(0), kept: RwLock::new(kept) })
    }

    /// Whether it is of any use.
    pub(crate) fn is_on(&self) -> bool {
        !self.lease.is_zero()
    }

    /// A product, if it is kept and the lease stands. `None` now and then although both is so: the caller is the one who renews the lease.
    pub(crate) fn get(&self, id: i32) -> Option<Arc<Entry>> {
        let kept = self.read();
        let now = Instant::now();
        let left = kept.until.checked_duration_since(now).filter(|left| !left.is_zero())?;
        let (entry, end) = kept.products.get(&id)?;
        let is_good = now < *end && (left > self.lease / 2 || !self.take_turn(now));
        is_good.then(|| entry.clone())
    }

    /// A connection is there that tells of changes.
    pub(crate) fn open(&self, connection: u64) {
        let mut kept = self.write();
        kept.connection = Some(connection);
        kept.until = self.began;
        kept.products.clear();
    }

    /// A connection is gone; with the one that tells of changes goes everything.
    pub(crate) fn close(&self, connection: u64) {
        let mut kept = self.write();
        if kept.connection == Some(connection) {
            kept.connection = None;
            kept.products.clear();
        }
    }

    /// To be taken before a read is sent on `connection`.
    pub(crate) fn ticket(&self, connection: u64) -> Ticket {
        Ticket { connection, changes: self.read().changes, sent: Instant::now() }
    }

    /// What a read brought: a product, and how long Redis keeps it. The answer also renews the lease. The product is not kept if anything changed since the
    /// read was sent: the message may be about this very product, and may have been handled before the answer.
    pub(crate) fn keep(&self, ticket: Ticket, id: i32, entry: &Arc<Entry>, ttl: Duration) {
        let mut kept = self.write();
        if kept.connection != Some(ticket.connection) {
            return;
        }
        kept.until = kept.until.max(ticket.sent + self.lease);
        let fits = entry.json().is_some_and(|json| json.get().len() <= PRODUCT_BYTES);
        if kept.changes != ticket.changes || !fits {
            return;
        }
        if kept.products.len() >= PRODUCTS
            && !kept.products.contains_key(&id)
            && let Some(other) = kept.products.keys().next().copied()
        {
            kept.products.remove(&other);
        }
        kept.products.insert(id, (entry.clone(), ticket.sent + ttl));
    }

    /// What Redis says without being asked. To be called in the order in which it came.
    pub(crate) fn hear(&self, connection: u64, message: &PushInfo) {
        match (&message.kind, message.data.first()) {
            (PushKind::Disconnection, _) => self.close(connection),
            (PushKind::Invalidate, Some(Value::Array(keys))) => {
                let mut kept = self.write();
                kept.changes += 1;
                for key in keys {
                    if let Value::BulkString(key) = key
                        && let Some(id) = product_cache::id_of(key)
                    {
                        kept.products.remove(&id);
                    }
                }
            }
            // Everything was removed, by FLUSHALL or FLUSHDB.
            (PushKind::Invalidate, _) => {
                let mut kept = self.write();
                kept.changes += 1;
                kept.products.clear();
            }
            _ => {}
        }
    }

    /// Whether the caller is the one who asks Redis. If no answer comes of it somebody else does, a quarter of the lease later.
    fn take_turn(&self, now: Instant) -> bool {
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let (now, last) = (micros(now - self.began), self.renewed.load(Ordering::Relaxed));
        now.saturating_sub(last) > micros(self.lease / 4)
            && self.renewed.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    fn read(&self) -> RwLockReadGuard<'_, Kept> {
        self.kept.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Kept> {
        self.kept.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
