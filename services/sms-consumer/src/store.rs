//! What the service keeps about the messages that were taken.

use persistence::sql::Traced;
use sqlx::PgConnection;
use uuid::Uuid;

/// Notes that the gateway has taken the message of an event.
pub(crate) async fn insert_delivery(
    transaction: &mut PgConnection,
    event_id: Uuid,
    order_id: Uuid,
    message_id: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO deliveries (event_id, order_id, message_id) VALUES ($1, $2, $3)",
        event_id,
        order_id,
        message_id
    )
    .execute(transaction)
    .traced("INSERT", "deliveries")
    .await?;
    Ok(())
}
