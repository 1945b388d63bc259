//! The outbox: rows that wait to be published, the leases under which relays publish them, and the keys that an operator
//! has to look at.
//!
//! Writers need none of this but [`Poke`]; the form of their `INSERT` is in the README.

mod blocked;
mod claim;
mod depth;
mod lease;
mod poke;
mod settle;
mod snapshot;

use sqlx::PgPool;
use uuid::Uuid;

pub use blocked::{
    BlockedKey, RefusedRow, ReleaseError, backlog, block, list_blocked, release_key, repair, show, skip,
    take_up_released,
};
pub use claim::{Claim, Row, RowId, Start, claim, claim_key};
pub use depth::{Depth, depth};
pub use lease::{BUCKETS, Holding, Lease, Tended, give_back, leave, remember, take, tend};
pub use poke::{CHANNEL, LEASES, Poke, Poker};
pub use settle::settle;
pub use snapshot::Snapshot;

use crate::pool::{self, BadDatabaseUrl};

/// Connections of a relay: two at work on rows, one for leases, one that listens, one for health checks, one to see how much waits.
const CONNECTIONS: u32 = 6;

/// A pool for a relay, set up for what it does to the outbox. Connects in the background.
///
/// The planner is kept to index scans: it would at times choose to read a table with millions of dead rows whole. Commits are
/// not awaited on disk: after a crash of the server a row that was settled may be there again, which is one more repeat.
/// Reading past millions of dead rows may take longer than ordinary statements are given.
pub fn connect(url: &str, application: &str) -> Result<PgPool, BadDatabaseUrl> {
    let settings = [
        ("enable_seqscan", "off"),
        ("enable_bitmapscan", "off"),
        ("enable_hashjoin", "off"),
        ("enable_mergejoin", "off"),
        ("plan_cache_mode", "force_generic_plan"),
        ("synchronous_commit", "off"),
        ("statement_timeout", "60s"),
    ];
    pool::connect_lazy_with(url, CONNECTIONS, application, &settings)
}

/// Buckets and epochs of a lease, as two columns.
fn columns(lease: &Lease) -> (Uuid, Vec<i16>, Vec<i64>) {
    (lease.owner(), lease.buckets().collect(), lease.epochs().collect())
}
