//! How much is measured.

use std::time::Duration;

/// How much each part does.
#[derive(Clone, Debug)]
pub(super) struct Sizes {
    /// Rows of a drain.
    pub(super) drain: u64,
    /// How often it is repeated.
    pub(super) drains: usize,
    /// Rows for the relay that sends one at a time.
    pub(super) one_by_one: u64,
    /// The rates at which latency is measured; the first one is also measured right after a drain.
    pub(super) rates: Vec<Rate>,
    /// Not measured, since clients and servers are still getting to know each other.
    pub(super) warm_up: Duration,
    /// For how long latency is measured.
    pub(super) window: Duration,
    /// Rows that are drained right before latency is measured.
    pub(super) after_drain: u64,
    /// Rows of a large backlog.
    pub(super) large: u64,
    /// Rows of a small one.
    pub(super) small: u64,
    /// Rows that have a rate of their own while a backlog is drained.
    pub(super) chunk: u64,
    /// Rows that are drained while a transaction is open.
    pub(super) held: u64,
    /// How long nothing happens.
    pub(super) idle: Duration,
}

/// A rate of writing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    /// Rows per second.
    pub(super) per_second: u32,
    /// What p50, p95 and p99 are to be at most, in milliseconds.
    pub(super) targets: [f64; 3],
}

impl Sizes {
    /// The short form, or the one to be quoted.
    pub(super) fn new(quick: bool) -> Self {
        if quick { Self::quick() } else { Self::full() }
    }

    fn full() -> Self {
        Self {
            drain: 200_000,
            drains: 3,
            one_by_one: 2_000,
            rates: vec![
                Rate { per_second: 1_000, targets: [4.0, 5.5, 7.0] },
                Rate { per_second: 5_000, targets: [4.5, 7.5, 11.0] },
            ],
            warm_up: Duration::from_secs(3),
            window: Duration::from_secs(20),
            after_drain: 200_000,
            large: 5_000_000,
            small: 500_000,
            chunk: 100_000,
            held: 200_000,
            idle: Duration::from_secs(20),
        }
    }

    fn quick() -> Self {
        Self {
            drain: 10_000,
            drains: 1,
            one_by_one: 200,
            rates: vec![Rate { per_second: 200, targets: [4.0, 5.5, 7.0] }],
            warm_up: Duration::from_secs(1),
            window: Duration::from_secs(3),
            after_drain: 5_000,
            large: 30_000,
            small: 10_000,
            chunk: 2_000,
            held: 5_000,
            idle: Duration::from_secs(3),
        }
    }
}
