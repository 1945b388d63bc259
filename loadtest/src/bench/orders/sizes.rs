//! How much is measured, and for how long.

use std::time::Duration;

/// The short form, or the one to be quoted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    /// Not counted: the Java machine of a new broker compiles its code meanwhile, and connections are opened.
    pub(super) warm_up: Duration,
    /// Connections with which pgbench is tried.
    pub(super) pgbench_clients: &'static [u32],
    /// Clients with which the shop is tried.
    pub(super) clients: &'static [u64],
    /// For how long each number of clients is tried.
    pub(super) trial: Duration,
    /// For how long the best number is measured, each time.
    pub(super) slice: Duration,
    /// How often.
    pub(super) slices: u64,
    /// For how long a rate is tried before it is held.
    pub(super) probe: Duration,
    /// How often, at most.
    pub(super) probes: u32,
    /// For how long a rate is held to be called sustained.
    pub(super) hold: Duration,
    /// Orders per second whose way to the last effect is timed.
    pub(super) timed_rate: f64,
    /// For how long they are.
    pub(super) timed: Duration,
    /// For how long the shop gets more than it can take.
    pub(super) overload: Duration,
    /// For how long nothing happens before memory at rest is read.
    pub(super) rest: Duration,
}

impl Sizes {
    pub(super) fn new(quick: bool) -> Self {
        if quick {
            let short = Duration::from_millis(700);
            Self {
                warm_up: short,
                pgbench_clients: &[4],
                clients: &[4],
                trial: short,
                slice: short,
                slices: 1,
                probe: short,
                probes: 1,
                hold: Duration::from_secs(2),
                timed_rate: 50.0,
                timed: Duration::from_secs(1),
                overload: Duration::from_secs(1),
                rest: Duration::from_secs(1),
            }
        } else {
            Self {
                warm_up: Duration::from_secs(30),
                pgbench_clients: &[8, 16, 32, 64],
                clients: &[64, 128, 256, 512],
                trial: Duration::from_secs(6),
                slice: Duration::from_secs(10),
                slices: 5,
                probe: Duration::from_secs(20),
                probes: 6,
                hold: Duration::from_secs(120),
                timed_rate: 1_000.0,
                timed: Duration::from_secs(30),
                overload: Duration::from_secs(20),
                rest: Duration::from_secs(20),
            }
        }
    }
}
