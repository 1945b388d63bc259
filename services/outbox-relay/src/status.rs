//! What the health check sees of the relay.

use std::sync::{Arc, Mutex, PoisonError};

/// Shared view of the relay. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct RelayStatus(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    leader: bool,
    trouble: Option<String>,
}

impl RelayStatus {
    /// What keeps the relay from publishing, if anything does. A relay that waits for another one's lease is well.
    pub fn check(&self) -> Result<(), String> {
        self.lock().trouble.clone().map_or(Ok(()), Err)
    }

    /// Whether this relay holds the lease.
    pub fn is_leader(&self) -> bool {
        self.lock().leader
    }

    pub(crate) fn leads(&self, leader: bool) {
        self.lock().leader = leader;
    }

    /// Returns whether this is news.
    pub(crate) fn trouble(&self, trouble: Option<String>) -> bool {
        let mut state = self.lock();
        let news = state.trouble.is_some() != trouble.is_some();
        state.trouble = trouble;
        news
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
