//! The statement.

use std::collections::HashSet;

use sqlx::PgConnection;
use uuid::Uuid;

use super::Taken;
use crate::inbox::{self, Arrival, Event};

/// Notes messages, all or none: the row of the inbox and that of the delivery, of each event that was not applied before. Says of each what its
/// event was. No event may stand there twice.
///
/// One statement and no transaction around it, so that it costs one round trip and one flush. The rows of the inbox are touched in the order of the
/// ids, so that two of these never wait for each other in a circle.
pub(super) async fn insert(
    connection: &mut PgConnection,
    taken: &[Taken],
) -> Result<Vec<Arrival>, sqlx::Error> {
    let events: Vec<Event> = taken.iter().map(|taken| taken.event).collect();
    let (ids, times, allowed) = inbox::columns(&events);
    let orders: Vec<Uuid> = taken.iter().map(|taken| taken.order_id).collect();
    let messages: Vec<String> = taken.iter().map(|taken| taken.message_id.clone()).collect();
    // As in `inbox::first_delivery` the horizon is read by the statement that inserts, so that no pruning fits in between.
    let inserted = sqlx::query_scalar!(
        "WITH first AS (
             INSERT INTO inbox (event_id, occurred_at)
             SELECT id, CASE WHEN allowed THEN now() ELSE occurred_at END
             FROM unnest($1::uuid[], $2::timestamptz[], $3::boolean[]) AS event (id, occurred_at, allowed)
             WHERE allowed OR occurred_at > (SELECT pruned_up_to FROM inbox_horizon)
             ORDER BY id
             ON CONFLICT DO NOTHING
             RETURNING event_id
         )
         INSERT INTO deliveries (event_id, order_id, message_id)
         SELECT event_id, order_id, message_id
         FROM first JOIN unnest($1::uuid[], $4::uuid[], $5::text[]) AS taken (id, order_id, message_id) ON id = event_id
         RETURNING event_id",
        &ids,
        &times,
        &allowed,
        &orders,
        &messages
    )
    .fetch_all(&mut *connection)
    .await?;
    let first: HashSet<Uuid> = inserted.into_iter().collect();
    let others: Vec<Event> = events.iter().filter(|event| !first.contains(&event.id)).copied().collect();
    if others.is_empty() {
        return Ok(vec![Arrival::First; taken.len()]);
    }
    let mut others = inbox::not_inserted(connection, &others).await?.into_iter();
    events
        .iter()
        .map(|event| match first.contains(&event.id) {
            true => Ok(Arrival::First),
            false => others.next().ok_or_else(inbox::no_horizon),
        })
        .collect()
}
