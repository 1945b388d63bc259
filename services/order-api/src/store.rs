//! SQL of the order API.

use std::collections::HashMap;

use contracts::topics::ORDER_EVENTS;
use contracts::{Envelope, Money, MoneyError, OrderCreated};
use persistence::sql::Traced;
use service_runtime::Problem;
use sqlx::{PgConnection, PgPool};
use storefront::{OrderView, OrderViewLine, Product, refusals};
use tracing::warn;
use uuid::Uuid;

use crate::order_writer::OrderRows;

mod columns;
use columns::Columns;

/// An event as it goes into the outbox.
pub(crate) struct NewEvent {
    pub(crate) envelope: Envelope<OrderCreated>,
    /// The envelope as JSON: what the relay sends, byte for byte.
    pub(crate) payload: String,
    pub(crate) traceparent: Option<String>,
}

/// Products in the order of their ids, and how many there are in all.
pub(crate) async fn products(
    pool: &PgPool,
    offset: i64,
    limit: i64,
) -> Result<(Vec<Product>, i64), sqlx::Error> {
    let total = sqlx::query_scalar!(r#"SELECT count(*) AS "count!" FROM products"#)
        .fetch_one(pool)
        .traced("SELECT", "products")
        .await?;
    let rows = sqlx::query!(
        "SELECT id, name, description, price_cents FROM products ORDER BY id OFFSET $1 LIMIT $2",
        offset,
        limit
    )
    .fetch_all(pool)
    .traced("SELECT", "products")
    .await?;
    let product = |id, name, description, cents| Ok(Product { id, name, description, price: money(cents)? });
    let products = rows
        .into_iter()
        .map(|row| product(row.id, row.name, row.description, row.price_cents))
        .collect::<Result<_, sqlx::Error>>()?;
    Ok((products, total))
}

/// Prices of those products that exist.
pub(crate) async fn prices(pool: &PgPool, products: &[i32]) -> Result<HashMap<i32, Money>, sqlx::Error> {
    sqlx::query!("SELECT id, price_cents FROM products WHERE id = ANY($1)", products)
        .fetch_all(pool)
        .traced("SELECT", "products")
        .await?
        .into_iter()
        .map(|row| Ok((row.id, money(row.price_cents)?)))
        .collect()
}

/// Writes orders with their lines, their events and the claims of their keys, in one statement and so in one transaction and one round
/// trip. Returns the ids of those that were written; the key of each other one stands for an order already. No key may stand twice
/// in `orders`, at least one.
///
/// An outbox row selects from its order's `RETURNING`: parts of a `WITH` run in no fixed order, and the outbox identity has to
/// be taken after the order's row exists. The order in turn waits for the claim. A key that another statement is just claiming
/// makes this one wait until that one is over; an expired key is taken over. Keys are claimed in their order, so that two statements never wait for each
/// other in a circle.
pub(crate) async fn insert(
    connection: &mut PgConnection,
    orders: &[&OrderRows],
) -> Result<Vec<Uuid>, sqlx::Error> {
    let Columns { claims, orders, lines, events, ttl } = Columns::of(orders);
    sqlx::query_scalar!(
        r#"WITH claim AS (
             INSERT INTO idempotency_keys AS held (key, fingerprint, order_id)
             SELECT key, fingerprint, order_id
             FROM unnest($1::text[], $2::bytea[], $3::uuid[]) AS claimed (key, fingerprint, order_id)
             ORDER BY key COLLATE "C"
             ON CONFLICT (key) DO UPDATE
             SET fingerprint = excluded.fingerprint, order_id = excluded.order_id, created_at = excluded.created_at
             WHERE held.created_at <= now() - make_interval(secs => $4)
             RETURNING order_id
         ), new_order AS (
             INSERT INTO orders (id, user_id, email, phone, total_cents, trace_id, last_sequence, occurred_at)
             SELECT id, user_id, email, phone, total_cents, trace_id, last_sequence, occurred_at
             FROM unnest($5::uuid[], $6::bigint[], $7::text[], $8::text[], $9::bigint[], $10::text[], $11::bigint[], $12::timestamptz[])
                  AS priced (id, user_id, email, phone, total_cents, trace_id, last_sequence, occurred_at)
             WHERE id <> ALL ($3::uuid[]) OR id IN (SELECT order_id FROM claim)
             RETURNING id, last_sequence
         ), lines AS (
             INSERT INTO order_items (order_id, line_no, product_id, quantity, unit_price_cents)
             SELECT order_id, line_no, product_id, quantity, unit_price_cents
             FROM unnest($13::uuid[], $14::integer[], $15::integer[], $16::integer[], $17::bigint[])
                  AS line (order_id, line_no, product_id, quantity, unit_price_cents)
             WHERE order_id IN (SELECT id FROM new_order)
         )
         INSERT INTO outbox (topic, aggregate_id, sequence, event_id, event_type, source, traceparent, payload)
         SELECT $18, new_order.id, last_sequence, event.id, event_type, source, traceparent, payload::json
         FROM new_order
         JOIN unnest($5::uuid[], $19::uuid[], $20::text[], $21::text[], $22::text[], $23::text[])
              AS event (order_id, id, event_type, source, traceparent, payload) ON event.order_id = new_order.id
         RETURNING aggregate_id"#,
        &claims.keys as &[&str],
        &claims.fingerprints as &[&[u8]],
        &claims.orders,
        ttl,
        &orders.ids,
        &orders.user_ids,
        &orders.emails as &[&str],
        &orders.phones as &[&str],
        &orders.totals,
        &orders.trace_ids as &[Option<&str>],
        &orders.sequences,
        &orders.times,
        &lines.orders,
        &lines.numbers,
        &lines.products,
        &lines.quantities,
        &lines.prices,
        ORDER_EVENTS,
        &events.ids,
        &events.types as &[&str],
        &events.sources as &[&str],
        &events.traceparents as &[Option<&str>],
        &events.payloads as &[&str],
    )
    .fetch_all(connection)
    .await
}

pub(crate) async fn order(pool: &PgPool, id: Uuid) -> Result<Option<OrderView>, sqlx::Error> {
    let Some(order) = sqlx::query!(
        "SELECT user_id, status, total_cents, trace_id, created_at FROM orders WHERE id = $1",
        id
    )
    .fetch_optional(pool)
    .traced("SELECT", "orders")
    .await?
    else {
        return Ok(None);
    };
    // Committed together with the order and never changed: two statements see what one would see.
    let lines = sqlx::query!(
        "SELECT product_id, quantity, unit_price_cents FROM order_items WHERE order_id = $1 ORDER BY line_no",
        id
    )
    .fetch_all(pool)
    .traced("SELECT", "order_items")
    .await?;
    let items = lines
        .into_iter()
        .map(|line| {
            let price = money(line.unit_price_cents)?;
            Ok(OrderViewLine { product_id: line.product_id, quantity: line.quantity, price })
        })
        .collect::<Result<_, sqlx::Error>>()?;
    Ok(Some(OrderView {
        order_id: id,
        user_id: order.user_id,
        status: order.status,
        items,
        total: money(order.total_cents)?,
        trace_id: order.trace_id,
        created_at: order.created_at,
    }))
}

/// The answer to a read that the database did not serve. The cause is logged here, once, and not sent.
pub(crate) fn cannot_read(error: sqlx::Error) -> Problem {
    warn!(%error, "the database did not serve a read");
    refusals::cannot_read()
}

pub(crate) fn money(cents: i64) -> Result<Money, sqlx::Error> {
    Money::from_cents(cents).map_err(|error: MoneyError| sqlx::Error::Decode(error.into()))
}
