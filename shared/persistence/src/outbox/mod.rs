//! The relay's side of the outbox: leases, claims, settling, blocked keys.

mod lease;
mod rows;

pub use lease::{BUCKETS, Lease, acquire, release, renew};
pub use rows::{Row, RowId, backlog, block, claim, settle};
