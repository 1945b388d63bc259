//! An accepted order is confirmed by text message.

use std::sync::Arc;

use contracts::{Envelope, OrderCreated};
use messaging::consumer::{Answer, Delivery, Handler};
use persistence::deliveries::{Deliveries, Taken};
use persistence::errors;
use persistence::inbox::{self, Arrival, BeyondHorizon};
use persistence::sql::SharedError;

use crate::gateway::{Gateway, SendError, TextMessage};

/// Sends one text message per accepted order.
///
/// The message goes out before the inbox row is written, so a crash in between sends it again, under the same
/// Idempotency-Key: at least once towards the gateway, and once to the customer if the gateway honours the key.
pub struct Confirmations {
    deliveries: Deliveries,
    gateway: Arc<Gateway>,
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("the sms database failed: {0}")]
    Database(#[from] SharedError),
    #[error("{0}")]
    BeyondHorizon(BeyondHorizon),
    #[error(transparent)]
    Gateway(#[from] SendError),
}

impl Confirmations {
    /// Confirmations over `gateway`, noted as `deliveries`.
    pub fn new(deliveries: Deliveries, gateway: Arc<Gateway>) -> Self {
        Self { deliveries, gateway }
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
        let order = &event.data;
        let text = text(order);
        let message = TextMessage { to: &order.phone, text: &text, order_id: order.order_id };
        // No transaction is open while the gateway takes its time.
        self.gateway.send(event.id, &message).await?;

        let taken = Taken { event: known, order_id: order.order_id, message_id: event.id.to_string() };
        // A twin may have come first meanwhile. To pass the horizon meanwhile an event has to be a retention old to the second; it is a dead
        // letter then, and its repeat carries the same Idempotency-Key.
        match self.deliveries.note(taken).await? {
            Arrival::First => {
                tracing::info!(order_id = %event.data.order_id, "order confirmed by text message")
            }
            Arrival::Repeat => delivery.repeated(),
            Arrival::BeyondHorizon(beyond) => return Err(Failure::BeyondHorizon(beyond)),
        }
        Ok(())
    }
}

/// Short enough for one message of the short message service (160 characters).
fn text(order: &OrderCreated) -> String {
    format!("We received your order {}. Total: {}. Thank you!", order.order_id, order.total)
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
        Failure::Gateway(SendError::Transient(_)) => Answer::Retry(reason),
        Failure::BeyondHorizon(_) | Failure::Gateway(SendError::Permanent(_)) => Answer::Poison(reason),
        Failure::Gateway(SendError::NoAnswer(_) | SendError::NotServed(_)) => Answer::Unavailable(reason),
        Failure::Database(SharedError::Database(error)) if errors::is_fault_of_the_data(error) => {
            Answer::Poison(reason)
        }
        // Also what waiting alone does not mend, a missing table say: the mistake is ours and not the order's, so the order
        // waits for the mend instead of going to dead letters.
        Failure::Database(_) => Answer::Unavailable(reason),
    }
}
