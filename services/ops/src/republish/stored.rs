//! Orders as they are stored, and the events that follow from them.

use std::collections::{HashMap, HashSet};

use anyhow::Context;
use chrono::{DateTime, Utc};
use contracts::{Envelope, Money, OrderCreated, OrderLine, event_id};
use sqlx::{PgConnection, PgPool, Row};
use uuid::Uuid;

/// An order, and what its event needs beside it.
#[derive(Clone, Debug)]
pub(super) struct StoredOrder {
    order: OrderCreated,
    accepted_at: DateTime<Utc>,
    /// When its event was decided; an order of before migration 0006 does not tell.
    occurred_at: Option<DateTime<Utc>>,
    /// Trace under which the order was taken.
    trace_id: Option<String>,
}

impl StoredOrder {
    /// The identity of its first event.
    pub(super) fn event_id(&self) -> Uuid {
        event_id(self.order.order_id, 1)
    }

    /// When the order was committed.
    pub(super) fn accepted_at(&self) -> DateTime<Utc> {
        self.accepted_at
    }

    /// Whether the time of its event is known.
    pub(super) fn is_dated(&self) -> bool {
        self.occurred_at.is_some()
    }

    /// Its first event, as order-api wrote it; without the time of that, of the closest that is known.
    fn event(&self) -> Envelope<OrderCreated> {
        self.order.clone().into_event(self.occurred_at.unwrap_or(self.accepted_at))
    }

    /// Who applies the event does so in the order's trace. The span that wrote it first is not stored; half of the event's id, never
    /// zero, stands for it.
    fn traceparent(&self) -> Option<String> {
        let (_, span) = self.event_id().as_u64_pair();
        self.trace_id.as_ref().map(|trace_id| format!("00-{trace_id}-{span:016x}-01"))
    }
}

/// Which of these orders exist.
pub(super) async fn known(pool: &PgPool, orders: &[Uuid]) -> anyhow::Result<HashSet<Uuid>> {
    let found = sqlx::query_scalar("SELECT id FROM orders WHERE id = ANY($1)").bind(orders).fetch_all(pool);
    Ok(found.await.context("cannot look the orders up")?.into_iter().collect())
}

/// Locks these orders as whoever writes an event of theirs does: in the order of their ids, so that no two wait for each other.
pub(super) async fn lock(connection: &mut PgConnection, orders: &[Uuid]) -> sqlx::Result<()> {
    let query = sqlx::query("SELECT FROM orders WHERE id = ANY($1) ORDER BY id FOR UPDATE");
    query.bind(orders).execute(connection).await?;
    Ok(())
}

/// Reads these orders.
pub(super) async fn read(connection: &mut PgConnection, orders: &[Uuid]) -> anyhow::Result<Vec<StoredOrder>> {
    let mut lines: HashMap<Uuid, Vec<OrderLine>> = HashMap::new();
    // Committed together with the order and never changed: two statements see what one would see.
    let query = sqlx::query(
        "SELECT order_id, product_id, quantity, unit_price_cents FROM order_items WHERE order_id = ANY($1)
         ORDER BY order_id, line_no",
    );
    for row in query.bind(orders).fetch_all(&mut *connection).await? {
        let line = OrderLine {
            product_id: row.try_get(1)?,
            quantity: row.try_get(2)?,
            unit_price: Money::from_cents(row.try_get(3)?)?,
        };
        lines.entry(row.try_get(0)?).or_default().push(line);
    }
    let query = sqlx::query(
        "SELECT id, user_id, email, phone, total_cents, trace_id, created_at, occurred_at
         FROM orders WHERE id = ANY($1) ORDER BY id",
    );
    let rows = query.bind(orders).fetch_all(&mut *connection).await?;
    rows.iter()
        .map(|row| {
            let order_id: Uuid = row.try_get(0)?;
            let order = OrderCreated {
                order_id,
                user_id: row.try_get(1)?,
                email: row.try_get(2)?,
                phone: row.try_get(3)?,
                items: lines.remove(&order_id).with_context(|| format!("order {order_id} has no lines"))?,
                total: Money::from_cents(row.try_get(4)?)?,
            };
            let (accepted_at, occurred_at) = (row.try_get(6)?, row.try_get(7)?);
            Ok(StoredOrder { order, accepted_at, occurred_at, trace_id: row.try_get(5)? })
        })
        .collect()
}

/// Which of their events are in the outbox, and which an operator took out of it for good.
pub(super) async fn not_to_be_put_back(
    connection: &mut PgConnection,
    orders: &[StoredOrder],
) -> anyhow::Result<[HashSet<Uuid>; 2]> {
    let events: Vec<Uuid> = orders.iter().map(StoredOrder::event_id).collect();
    // Reads the whole outbox, which has no index on the event: it is empty or nearly so when somebody puts events back.
    let waiting =
        sqlx::query_scalar("SELECT DISTINCT event_id FROM outbox WHERE event_id = ANY($1)").bind(&events);
    let waiting: Vec<Uuid> =
        waiting.fetch_all(&mut *connection).await.context("cannot look into the outbox")?;
    let skipped =
        sqlx::query_scalar("SELECT event_id FROM outbox_skipped WHERE event_id = ANY($1)").bind(&events);
    let skipped: Vec<Uuid> =
        skipped.fetch_all(&mut *connection).await.context("cannot read the skipped events")?;
    Ok([waiting.into_iter().collect(), skipped.into_iter().collect()])
}

/// Puts the events into the outbox: the documented `INSERT`, selecting from the locked orders. `created_at` alone is not left to the
/// database: it is `ce_time` on the topic, and like the first time it is when the order was committed.
pub(super) async fn insert(
    connection: &mut PgConnection,
    topic: &str,
    orders: &[StoredOrder],
) -> anyhow::Result<usize> {
    let events: Vec<Envelope<OrderCreated>> = orders.iter().map(StoredOrder::event).collect();
    let Some(any) = events.first() else { return Ok(0) };
    let ids: Vec<Uuid> = events.iter().map(|event| event.aggregate_id).collect();
    let event_ids: Vec<Uuid> = events.iter().map(|event| event.id).collect();
    let payloads = events.iter().map(serde_json::to_string).collect::<Result<Vec<String>, _>>()?;
    let traceparents: Vec<Option<String>> = orders.iter().map(StoredOrder::traceparent).collect();
    let inserted = sqlx::query(
        "INSERT INTO outbox (topic, aggregate_id, sequence, event_id, event_type, source, traceparent, payload,
                             created_at)
         SELECT $1, orders.id, $2, event.id, $3, $4, event.traceparent, event.payload::json, orders.created_at
         FROM unnest($5::uuid[], $6::uuid[], $7::text[], $8::text[]) AS event (order_id, id, traceparent, payload)
         JOIN orders ON orders.id = event.order_id",
    )
    .bind(topic)
    .bind(any.sequence)
    .bind(&any.event_type)
    .bind(&any.source)
    .bind(&ids)
    .bind(&event_ids)
    .bind(&traceparents)
    .bind(&payloads)
    .execute(connection)
    .await
    .context("cannot write to the outbox")?;
    Ok(usize::try_from(inserted.rows_affected())?)
}
