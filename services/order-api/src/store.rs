//! SQL of the order API.

use std::collections::HashMap;

use contracts::topics::ORDER_EVENTS;
use contracts::{Envelope, Money, MoneyError, OrderCreated};
use persistence::sql::Traced;
use service_runtime::Problem;
use sqlx::{PgConnection, PgPool};
use storefront::{OrderView, OrderViewLine, PricedOrder, Product, refusals};
use tracing::warn;
use uuid::Uuid;

use crate::idempotency::Claim;

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

/// Order, lines, event and the claim of the order's key if it has one, in one statement and so in one transaction and one round
/// trip. `false`: the key stands for an order already, and nothing was written.
///
/// The outbox row selects from the order's `RETURNING`: parts of a `WITH` run in no fixed order, and the outbox identity has to
/// be taken after the order's row exists. The order in turn waits for the claim. A key that another statement is just claiming
/// makes this one wait until that one is over; an expired key is taken over.
pub(crate) async fn insert(
    connection: &mut PgConnection,
    order: &PricedOrder,
    trace_id: Option<&str>,
    event: &NewEvent,
    claim: Option<&Claim>,
) -> Result<bool, sqlx::Error> {
    let numbers: Vec<i32> = (1..).take(order.lines.len()).collect();
    let products: Vec<i32> = order.lines.iter().map(|line| line.product_id).collect();
    let quantities: Vec<i32> = order.lines.iter().map(|line| line.quantity).collect();
    let prices: Vec<i64> = order.lines.iter().map(|line| line.unit_price.cents()).collect();
    let NewEvent { envelope, payload, traceparent } = event;
    let written = sqlx::query!(
        "WITH claim AS (
             INSERT INTO idempotency_keys AS held (key, fingerprint, order_id)
             SELECT $18::text, $19::bytea, $1::uuid WHERE $18::text IS NOT NULL
             ON CONFLICT (key) DO UPDATE
             SET fingerprint = excluded.fingerprint, order_id = excluded.order_id, created_at = excluded.created_at
             WHERE held.created_at <= now() - make_interval(secs => $20)
             RETURNING order_id
         ), new_order AS (
             INSERT INTO orders (id, user_id, email, phone, total_cents, trace_id, last_sequence, occurred_at)
             SELECT $1, $2, $3, $4, $5, $6, $7, $21::timestamptz WHERE $18::text IS NULL OR EXISTS (SELECT FROM claim)
             RETURNING id, last_sequence
         ), lines AS (
             INSERT INTO order_items (order_id, line_no, product_id, quantity, unit_price_cents)
             SELECT new_order.id, line.*
             FROM new_order, unnest($8::integer[], $9::integer[], $10::integer[], $11::bigint[]) AS line
         )
         INSERT INTO outbox (topic, aggregate_id, sequence, event_id, event_type, source, traceparent, payload)
         SELECT $12, id, last_sequence, $13, $14, $15, $16, $17::text::json FROM new_order",
        order.id,
        order.user_id,
        order.email.as_str(),
        order.phone.as_str(),
        order.total.cents(),
        trace_id,
        envelope.sequence,
        &numbers,
        &products,
        &quantities,
        &prices,
        ORDER_EVENTS,
        envelope.id,
        envelope.event_type,
        envelope.source,
        traceparent.as_deref(),
        payload,
        claim.map(|claim| claim.key.as_str()),
        claim.map(|claim| claim.fingerprint.as_bytes()),
        claim.map(|claim| claim.ttl.as_secs_f64()),
        envelope.occurred_at
    )
    .execute(connection)
    .traced("INSERT", "orders")
    .await?;
    Ok(written.rows_affected() == 1)
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
