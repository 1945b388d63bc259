//! Named points at which a test can hold a relay, let it go on, or end it.

use std::sync::Arc;

use futures::future::BoxFuture;

/// Where a relay is with a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Point {
    /// Rows were claimed; none of them is enqueued yet.
    Claimed,
    /// Rows were handed to the producer; no acknowledgement was looked at yet.
    Enqueued,
    /// Kafka has rows that are still in the table.
    Acknowledged,
}

/// Called at each point; the relay stands still, leases included, until the future is ready.
pub type Observer = Arc<dyn Fn(Point) -> BoxFuture<'static, ()> + Send + Sync>;
