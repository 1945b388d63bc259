//! An accepted order is confirmed by e-mail.

use std::sync::Arc;

use contracts::{Envelope, OrderCreated};
use lettre::message::Mailbox;
use messaging::consumer::{Answer, Delivery, Handler};
use persistence::deliveries::{Deliveries, Taken};
use persistence::errors;
use persistence::inbox::{self, Arrival, BeyondHorizon};
use persistence::sql::SharedError;

use crate::confirmation::{self, Unwritable};
use crate::mailer::{Mailer, SendError};

/// Sends one mail per accepted order.
///
/// The mail goes out before the inbox row is written, so a crash in between sends it again, with the same Message-ID: at
/// least once towards the provider, and once to the customer if the provider honours the Message-ID.
pub struct Confirmations {
    deliveries: Deliveries,
    mailer: Arc<Mailer>,
    from: Mailbox,
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("the e-mail database failed: {0}")]
    Database(#[from] SharedError),
    #[error("{0}")]
    BeyondHorizon(BeyondHorizon),
    #[error(transparent)]
    Mail(#[from] SendError),
    #[error(transparent)]
    Unwritable(#[from] Unwritable),
}

impl Confirmations {
    /// Confirmations from `from`, noted as `deliveries`.
    pub fn new(deliveries: Deliveries, mailer: Arc<Mailer>, from: Mailbox) -> Self {
        Self { deliveries, mailer, from }
    }

    async fn confirm(&self, event: &Envelope<OrderCreated>, delivery: &Delivery) -> Result<(), Failure> {
        let (id, occurred_at) = (event.id, event.occurred_at);
        let known = inbox::Event { id, occurred_at, beyond_horizon: delivery.beyond_horizon };
        match self.deliveries.arrival(known).await? {
            Arrival::First => {}
            Arrival::Repeat => {
                delivery.repeated();
                return Ok(());
            }
            Arrival::BeyondHorizon(beyond) => return Err(Failure::BeyondHorizon(beyond)),
        }
        // No transaction is open while the provider takes its time.
        self.mailer.send(&confirmation::confirmation(&self.from, event)?).await?;

        let taken = Taken {
            event: known,
            order_id: event.data.order_id,
            message_id: confirmation::message_id(event.id),
        };
        // A twin may have come first meanwhile. To pass the horizon meanwhile an event has to be a retention old to the second; it is a dead
        // letter then, and its repeat carries the same Message-ID.
        match self.deliveries.note(taken).await? {
            Arrival::First => tracing::info!(order_id = %event.data.order_id, "order confirmed by e-mail"),
            Arrival::Repeat => delivery.repeated(),
            Arrival::BeyondHorizon(beyond) => return Err(Failure::BeyondHorizon(beyond)),
        }
        Ok(())
    }
}

impl Handler for Confirmations {
    type Event = Envelope<OrderCreated>;

    async fn handle(&self, event: &Self::Event, delivery: &Delivery) -> Answer {
        match self.confirm(event, delivery).await {
            Ok(()) => Answer::Ok,
            Err(failure) => answer(&failure),
        }
    }
}

fn answer(failure: &Failure) -> Answer {
    let reason = failure.to_string();
    match failure {
        Failure::Mail(SendError::Transient(_)) => Answer::Retry(reason),
        Failure::BeyondHorizon(_)
        | Failure::Mail(SendError::Permanent(_) | SendError::Unsupported)
        | Failure::Unwritable(_) => Answer::Poison(reason),
        Failure::Mail(SendError::NoSession(_) | SendError::NoAnswer(_)) => Answer::Unavailable(reason),
        Failure::Database(SharedError::Database(error)) if errors::is_fault_of_the_data(error) => {
            Answer::Poison(reason)
        }
        // Also what waiting alone does not mend, a missing table say: the mistake is ours and not the order's, so the order
        // waits for the mend instead of going to dead letters.
        Failure::Database(_) => Answer::Unavailable(reason),
    }
}
