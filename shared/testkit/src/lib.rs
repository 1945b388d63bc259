//! Finds or starts Postgres, Redis and Kafka for tests, and runs our services against them.
//!
//! Everything here panics when it cannot do its work: a test without its servers has nothing to say, and the
//! panic carries the whole chain of causes.
//!
//! ```no_run
//! # async fn example() {
//! use testkit::{Servers, eventually};
//! let servers = Servers::shared().await;
//! let database = servers.database("email").await.migrated().await;
//! let topic = servers.topic("order.events", 3).await;
//! # let _ = (database.url(), topic);
//! # }
//! ```

mod binaries;
mod database;
mod docker;
mod eventually;
mod kafka;
mod leftovers;
mod native;
mod observers;
mod ports;
mod process;
mod redis;
mod servers;
mod workspace;

pub use binaries::build;
pub use database::TestDatabase;
pub use eventually::{PATIENCE, eventually, within};
pub use kafka::next_record;
pub use leftovers::folder as scratch_folder;
pub use observers::{Jaeger, Prometheus};
pub use ports::free_port;
pub use process::Process;
pub use servers::{Kind, Servers};
pub use workspace::root as workspace_root;

/// Unwraps what a test cannot go on without, and shows every cause when it is missing.
#[track_caller]
fn required<T>(result: anyhow::Result<T>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("{error:#}"),
    }
}
