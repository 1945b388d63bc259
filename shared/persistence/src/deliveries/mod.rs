//! What a consumer keeps that hands each event to a provider: a row in `deliveries` for each message that was taken, which commits together with the
//! event's row in the inbox.
//!
//! Events are handled one by one, each at its own pace, and many at a time. Their look-ups go together, and so do their rows: a statement for many costs
//! little more than one for one. What becomes of an event does not depend on its company.

mod groups;
mod store;

use std::future::Future;
use std::time::Duration;

use sqlx::PgPool;
use tokio::task::JoinError;
use uuid::Uuid;

use crate::grouped::{GroupLimits, Grouped, grouped};
use crate::inbox::{Arrival, Event};
use crate::sql::{Shared, SharedError, shared};
use groups::{Looks, Notes};

/// Connections that deliveries need: one for the look-ups under way and one for the rows.
pub const CONNECTIONS: u32 = 2;

/// Most events in a statement.
const LARGEST: usize = 500;
/// For a turn. Whoever waits longer is told that the database is away, as with a pool that has no connection for it.
const PATIENCE: Duration = Duration::from_secs(4);

/// That a provider has taken the message of an event.
#[derive(Clone, Debug)]
pub struct Taken {
    /// What the inbox has to know of it.
    pub event: Event,
    /// The order it is about.
    pub order_id: Uuid,
    /// The key that the provider saw. The same for each repeat of the event.
    pub message_id: String,
}

/// The deliveries of one process. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Deliveries {
    looks: Grouped<Event, Shared<Arrival>>,
    notes: Grouped<Taken, Shared<Arrival>>,
}

impl Deliveries {
    /// Deliveries in the database behind `pool`, of up to `in_flight` events at a time. The future does the work: it has to be run, and ends when all clones are
    /// dropped.
    pub fn new(
        pool: &PgPool,
        in_flight: usize,
    ) -> (Self, impl Future<Output = Result<(), JoinError>> + use<>) {
        // An event waits for one of the two at a time, so there is always room.
        let limits = GroupLimits { lanes: 1, largest: LARGEST, waiting: in_flight };
        let (looks, looking) = grouped(Looks(pool.clone()), limits);
        let (notes, noting) = grouped(Notes(pool.clone()), limits);
        let work = async {
            let (looking, noting) = tokio::join!(looking.run(), noting.run());
            looking.and(noting)
        };
        (Self { looks, notes }, work)
    }

    /// What a delivery of the event would be now, as [`inbox::arrival`](crate::inbox::arrival) says it.
    ///
    /// # Errors
    /// The database did not answer, or not in time.
    pub async fn arrival(&self, event: Event) -> Result<Arrival, SharedError> {
        shared("SELECT", "inbox", self.looks.carry_out(event, PATIENCE)).await
    }

    /// Notes a message that was taken, if nobody has noted its event before: its row in the inbox and its row in `deliveries`, or neither.
    ///
    /// # Errors
    /// The database refused the rows ([`errors`](crate::errors) tells why), did not answer, or not in time. Then they may be there nevertheless.
    pub async fn note(&self, taken: Taken) -> Result<Arrival, SharedError> {
        shared("INSERT", "deliveries", self.notes.carry_out(taken, PATIENCE)).await
    }
}
