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

use crate::grouped::{GroupLimits, GroupWork, Grouped, Lanes, grouped};
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
    /// dropped, or with an error as soon as a part of the work panics.
    pub fn new(
        pool: &PgPool,
        in_flight: usize,
    ) -> (Self, impl Future<Output = Result<(), JoinError>> + use<>) {
        // An event waits for one of the two at a time. The call of a handler that was dropped keeps its place until its turn comes, so there may be no
        // room for a moment; whoever meets that is told at once, and comes again as one that waited too long.
        // Records come from Kafka several at a time anyway.
        let limits = GroupLimits { lanes: 1, largest: LARGEST, waiting: in_flight, pace: Duration::ZERO };
        let (looks, looking) = grouped(Looks(pool.clone()), limits);
        let (notes, noting) = grouped(Notes(pool.clone()), limits);
        (Self { looks, notes }, both(looking, noting))
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

/// Runs both until both have ended, or one has panicked: one without the other is of no use, and would wait for calls for ever.
async fn both(looking: Lanes<impl GroupWork>, noting: Lanes<impl GroupWork>) -> Result<(), JoinError> {
    tokio::try_join!(looking.run(), noting.run()).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grouped::NotDone;

    const LIMITS: GroupLimits = GroupLimits { lanes: 1, largest: 10, waiting: 10, pace: Duration::ZERO };

    struct Fails;

    impl GroupWork for Fails {
        type Item = ();
        type Outcome = ();

        async fn carry_out(&self, _items: Vec<()>) -> Vec<()> {
            panic!("on purpose")
        }
    }

    #[tokio::test]
    async fn the_work_ends_as_soon_as_one_half_of_it_panics_although_the_other_could_go_on() {
        for second_panics in [false, true] {
            let ((one, first), (other, second)) = (grouped(Fails, LIMITS), grouped(Fails, LIMITS));
            let work = tokio::spawn(both(first, second));
            let called = if second_panics { &other } else { &one };
            assert_eq!(called.carry_out((), PATIENCE).await, Err(NotDone::Unknown));
            let ended = tokio::time::timeout(PATIENCE, work).await.expect("it ends").unwrap();
            assert!(ended.unwrap_err().is_panic());
            // Nobody waits for the half that was well, either.
            for calls in [&one, &other] {
                assert_eq!(calls.carry_out((), PATIENCE).await, Err(NotDone::Unknown));
            }
        }
    }
}
