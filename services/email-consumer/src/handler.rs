//! An accepted order is confirmed by e-mail.

use std::sync::Arc;

use contracts::{Envelope, OrderCreated};
use lettre::message::Mailbox;
use messaging::consumer::{Answer, Delivery, Handler};
use persistence::{errors, inbox};
use sqlx::PgPool;

use crate::confirmation::{self, Unwritable};
use crate::mailer::{Mailer, SendError};
use crate::store;

/// Sends one mail per accepted order.
///
/// The mail goes out before the inbox row is written, so a crash in between sends it again, with the same Message-ID: at
/// least once towards the provider, and once to the customer if the provider honours the Message-ID.
pub struct Confirmations {
    pool: PgPool,
    mailer: Arc<Mailer>,
    from: Mailbox,
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("the e-mail database failed: {0}")]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    Mail(#[from] SendError),
    #[error(transparent)]
    Unwritable(#[from] Unwritable),
}

impl Confirmations {
    /// Confirmations from `from`, noted in the database behind `pool`.
    pub fn new(pool: PgPool, mailer: Arc<Mailer>, from: Mailbox) -> Self {
        Self { pool, mailer, from }
    }

    async fn confirm(&self, event: &Envelope<OrderCreated>) -> Result<(), Failure> {
        if inbox::seen(&self.pool, event.id).await? {
            return Ok(());
        }
        // No transaction is open while the provider takes its time.
        self.mailer.send(&confirmation::confirmation(&self.from, event)?).await?;

        let mut transaction = self.pool.begin().await?;
        if inbox::first_delivery(&mut transaction, event.id, event.occurred_at).await? {
            let message_id = confirmation::message_id(event.id);
            store::insert_delivery(&mut transaction, event.id, event.data.order_id, &message_id).await?;
        }
        transaction.commit().await?;
        tracing::info!(order_id = %event.data.order_id, "order confirmed by e-mail");
        Ok(())
    }
}

impl Handler for Confirmations {
    type Event = Envelope<OrderCreated>;

    async fn handle(&self, event: &Self::Event, _: &Delivery) -> Answer {
        match self.confirm(event).await {
            Ok(()) => Answer::Ok,
            Err(failure) => answer(&failure),
        }
    }
}

fn answer(failure: &Failure) -> Answer {
    let reason = failure.to_string();
    match failure {
        Failure::Mail(SendError::Transient(_)) => Answer::Retry(reason),
        Failure::Mail(SendError::Permanent(_) | SendError::Unsupported) | Failure::Unwritable(_) => {
            Answer::Poison(reason)
        }
        Failure::Mail(SendError::NoSession(_) | SendError::NoAnswer(_)) => Answer::Unavailable(reason),
        Failure::Database(error) if errors::is_fault_of_the_data(error) => Answer::Poison(reason),
        // Also what waiting alone does not mend, a missing table say: the mistake is ours and not the order's, so the order
        // waits for the mend instead of going to dead letters.
        Failure::Database(_) => Answer::Unavailable(reason),
    }
}
