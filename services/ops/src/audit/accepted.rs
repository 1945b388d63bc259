//! The orders database: what was accepted, and what has not left it yet.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::Context;
use chrono::{DateTime, Utc};
use sqlx::{PgConnection, Row};
use tokio::time::Instant;
use uuid::Uuid;

use super::compare::{Backlog, Lines, Order, Orders, ProductSums};
use super::database::{connect, each, in_time, snapshot};

/// How often we look whether the outbox is past what was accepted.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Ids that are looked up together.
const TOGETHER: usize = 5000;

/// What was accepted.
#[derive(Debug)]
pub(super) struct Accepted {
    /// The orders of the window.
    pub(super) orders: Orders,
    /// What their lines add up to.
    pub(super) sales: ProductSums,
    /// The end of the window: the time that was asked for, or that of the snapshot.
    pub(super) until: DateTime<Utc>,
}

/// Reads the orders of the window, all from one snapshot.
pub(super) async fn read(
    url: &str,
    since: Option<DateTime<Utc>>,
    until: Option<DateTime<Utc>>,
) -> anyhow::Result<Accepted> {
    let mut connection = snapshot(url, "orders").await?;
    // Asked by the statement that takes the snapshot, so that it is not before anything the snapshot shows.
    let read_at: DateTime<Utc> =
        in_time(sqlx::query_scalar("SELECT clock_timestamp()").fetch_one(&mut connection)).await?;
    let until = until.map_or(read_at, |until| until.min(read_at));

    let mut orders = Vec::new();
    let query = sqlx::query(
        "SELECT id, created_at, last_sequence, total_cents FROM orders
         WHERE ($1::timestamptz IS NULL OR created_at >= $1) AND created_at <= $2",
    );
    each(&mut connection, query.bind(since).bind(until), |row| {
        orders.push(Order {
            id: row.try_get(0)?,
            created_at: row.try_get(1)?,
            events: row.try_get(2)?,
            revenue_cents: row.try_get(3)?,
            lines: Lines::default(),
        });
        Ok(())
    })
    .await
    .context("cannot read the orders")?;

    let (mut orders, mut sales) = (Orders::new(orders), ProductSums::default());
    let query = sqlx::query(
        "SELECT i.order_id, i.product_id, i.quantity::bigint, i.quantity * i.unit_price_cents
         FROM order_items i JOIN orders o ON o.id = i.order_id
         WHERE ($1::timestamptz IS NULL OR o.created_at >= $1) AND o.created_at <= $2",
    );
    each(&mut connection, query.bind(since).bind(until), |row| {
        let (order, product, quantity): (Uuid, i32, i64) =
            (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        sales.add(product, quantity, row.try_get(3)?);
        if let Some(order) = orders.position(order).and_then(|position| orders.get_mut(position)) {
            order.lines.add(product, quantity);
        }
        Ok(())
    })
    .await
    .context("cannot read the lines of the orders")?;
    Ok(Accepted { orders, sales, until })
}

/// Waits until nothing that was accepted up to `until` is in the outbox, rows of blocked keys aside. `false`: some of it still is at
/// the deadline.
pub(super) async fn wait_for_outbox(
    url: &str,
    topic: &str,
    until: DateTime<Utc>,
    deadline: Instant,
) -> anyhow::Result<bool> {
    let mut connection = connect(url, "orders").await?;
    loop {
        let waits = sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM outbox o WHERE topic = $1 AND created_at <= $2
                            AND NOT EXISTS (SELECT 1 FROM outbox_blocked b WHERE b.aggregate_id = o.aggregate_id))",
        );
        let waits: bool = in_time(waits.bind(topic).bind(until).fetch_one(&mut connection))
            .await
            .context("cannot look into the outbox")?;
        if !waits {
            return Ok(true);
        }
        if Instant::now() + LOOK_EVERY > deadline {
            return Ok(false);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// What is in the outbox or was taken out of it by an operator. To be read before the end of the topic is asked for: what is not in
/// here has been published before that end.
pub(super) async fn backlog(url: &str, topic: &str, accepted: &Accepted) -> anyhow::Result<Backlog> {
    let (mut connection, mut backlog) = (snapshot(url, "orders").await?, Backlog::default());
    let orders = &accepted.orders;
    let query =
        sqlx::query("SELECT aggregate_id, sequence FROM outbox WHERE topic = $1 AND created_at <= $2");
    each(&mut connection, query.bind(topic).bind(accepted.until), |row| {
        if let Some(position) = orders.position(row.try_get(0)?) {
            backlog.waiting.insert((position, row.try_get(1)?));
        }
        Ok(())
    })
    .await
    .context("cannot read the outbox")?;
    each(&mut connection, sqlx::query("SELECT aggregate_id, reason FROM outbox_blocked"), |row| {
        if let Some(position) = orders.position(row.try_get(0)?) {
            backlog.blocked.insert(position, row.try_get(1)?);
        }
        Ok(())
    })
    .await
    .context("cannot read the blocked keys")?;
    // A database that was not migrated since events can be skipped has none.
    let can_skip = sqlx::query_scalar("SELECT to_regclass('public.outbox_skipped') IS NOT NULL");
    if in_time(can_skip.fetch_one(&mut connection)).await? {
        let query = sqlx::query(
            "SELECT aggregate_id, sequence, skipped_by || ': ' || skipped_why FROM outbox_skipped WHERE topic = $1",
        );
        each(&mut connection, query.bind(topic), |row| {
            if let Some(position) = orders.position(row.try_get(0)?) {
                backlog.skipped.insert((position, row.try_get(1)?), row.try_get(2)?);
            }
            Ok(())
        })
        .await
        .context("cannot read the skipped events")?;
    }
    Ok(backlog)
}

/// How many events each of these orders has by now. Orders that are not in the answer do not exist.
pub(super) async fn look_up(
    connection: &mut PgConnection,
    orders: &[Uuid],
) -> anyhow::Result<HashMap<Uuid, i64>> {
    let mut found = HashMap::new();
    for some in orders.chunks(TOGETHER) {
        let query = sqlx::query("SELECT id, last_sequence FROM orders WHERE id = ANY($1)").bind(some);
        each(connection, query, |row| {
            found.insert(row.try_get(0)?, row.try_get(1)?);
            Ok(())
        })
        .await
        .context("cannot look orders up")?;
    }
    Ok(found)
}

/// What the lines of these orders add up to.
pub(super) async fn sales_of(connection: &mut PgConnection, orders: &[Uuid]) -> anyhow::Result<ProductSums> {
    let mut sales = ProductSums::default();
    for some in orders.chunks(TOGETHER) {
        let query = sqlx::query(
            "SELECT product_id, sum(quantity)::bigint, sum(quantity * unit_price_cents)::bigint
             FROM order_items WHERE order_id = ANY($1) GROUP BY product_id",
        );
        each(connection, query.bind(some), |row| {
            sales.add(row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
            Ok(())
        })
        .await
        .context("cannot read lines of orders")?;
    }
    Ok(sales)
}
