//! What the health check sees of the relay.

use std::sync::{Arc, Mutex, PoisonError};

use telemetry::metrics::Metrics;

use crate::metrics::RelayMetrics;

/// Shared view of the relay. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct RelayStatus {
    state: Arc<Mutex<State>>,
    pub(crate) metrics: RelayMetrics,
}

#[derive(Debug, Default)]
struct State {
    buckets: usize,
    blocked: u64,
    leases: Option<String>,
    database: Option<String>,
    removal: Option<String>,
    kafka: Option<String>,
}

/// What can be in trouble by itself.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Side {
    Leases,
    Database,
    Removal,
    Kafka,
}

impl State {
    fn trouble(&self) -> Option<&String> {
        [&self.leases, &self.database, &self.removal, &self.kafka].into_iter().find_map(Option::as_ref)
    }
}

impl RelayStatus {
    /// What keeps the relay from publishing, if anything does. A relay without buckets, because others hold them, is well.
    pub fn check(&self) -> Result<(), String> {
        self.lock().trouble().cloned().map_or(Ok(()), Err)
    }

    /// How many buckets this relay holds.
    pub fn buckets(&self) -> usize {
        self.lock().buckets
    }

    /// How many keys are blocked, over all relays, when this one looked last.
    pub fn blocked_keys(&self) -> u64 {
        self.lock().blocked
    }

    /// Shows what the relay counts and measures.
    pub fn register(&self, metrics: &Metrics) {
        self.metrics.register(metrics, self);
    }

    pub(crate) fn holds(&self, buckets: usize) {
        self.lock().buckets = buckets;
    }

    pub(crate) fn blocked(&self, keys: u64) {
        self.lock().blocked = keys;
    }

    /// Returns whether this changes how the relay is.
    pub(crate) fn trouble(&self, side: Side, trouble: Option<String>) -> bool {
        let mut state = self.lock();
        let before = state.trouble().is_some();
        match side {
            Side::Leases => state.leases = trouble,
            Side::Database => state.database = trouble,
            Side::Removal => state.removal = trouble,
            Side::Kafka => state.kafka = trouble,
        }
        before != state.trouble().is_some()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
