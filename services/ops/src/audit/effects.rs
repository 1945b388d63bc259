//! The consumers' databases: what each order came to.

use std::collections::BTreeMap;

use anyhow::Context;
use chrono::{DateTime, Utc};
use sqlx::Row;
use uuid::Uuid;

use super::compare::{Figures, Once, Orders, ProductSums, Reserved, Stock, minute_of};
use super::database::{each, snapshot};

/// Reads the confirmations that the e-mail or SMS consumer has noted since `since` into `once`. Returns the orders that are not
/// among those audited.
pub(super) async fn confirmations(
    url: &str,
    name: &str,
    since: Option<DateTime<Utc>>,
    orders: &Orders,
    once: &mut Once,
) -> anyhow::Result<Vec<Uuid>> {
    let mut connection = snapshot(url, name).await?;
    let mut others = Vec::new();
    let query =
        sqlx::query("SELECT order_id FROM deliveries WHERE $1::timestamptz IS NULL OR delivered_at >= $1");
    each(&mut connection, query.bind(since), |row| {
        let order = row.try_get(0)?;
        match orders.position(order) {
            Some(position) => once.effect(position),
            None => others.push(order),
        }
        Ok(())
    })
    .await
    .with_context(|| format!("cannot read the deliveries of {name}"))?;
    Ok(others)
}

/// Reads the decided lines since `since` into `reserved`. Returns the orders that are not among those audited, and the stock at
/// the same moment.
pub(super) async fn inventory(
    url: &str,
    since: Option<DateTime<Utc>>,
    orders: &Orders,
    reserved: &mut Reserved,
) -> anyhow::Result<(Vec<Uuid>, Vec<Stock>)> {
    let mut connection = snapshot(url, "inventory").await?;
    let (mut others, mut stock) = (Vec::new(), Vec::new());
    let query = sqlx::query(
        "SELECT order_id, product_id, quantity::bigint FROM reservations
         WHERE $1::timestamptz IS NULL OR created_at >= $1",
    );
    each(&mut connection, query.bind(since), |row| {
        let order = row.try_get(0)?;
        match orders.position(order) {
            Some(position) => reserved.line(position, row.try_get(1)?, row.try_get(2)?),
            None => others.push(order),
        }
        Ok(())
    })
    .await
    .context("cannot read the reservations")?;
    let query = sqlx::query(
        "SELECT s.product_id, s.on_hand::bigint, coalesce(m.pieces, 0)::bigint, coalesce(r.pieces, 0)::bigint
         FROM stock s
         LEFT JOIN (SELECT product_id, sum(delta) AS pieces FROM stock_movements GROUP BY 1) m USING (product_id)
         LEFT JOIN (SELECT product_id, sum(quantity) AS pieces FROM reservations WHERE outcome = 'reserved' GROUP BY 1) r
             USING (product_id)
         ORDER BY 1",
    );
    each(&mut connection, query, |row| {
        stock.push(Stock {
            product_id: row.try_get(0)?,
            on_hand: row.try_get(1)?,
            moved: row.try_get(2)?,
            reserved: row.try_get(3)?,
        });
        Ok(())
    })
    .await
    .context("cannot read the stock")?;
    Ok((others, stock))
}

/// What analytics has counted.
#[derive(Debug, Default)]
pub(super) struct Counted {
    /// By minute since 1970.
    pub(super) minutes: BTreeMap<i64, Figures>,
    /// Over all days.
    pub(super) sales: ProductSums,
}

/// Reads both rollups of analytics at one moment.
pub(super) async fn analytics(url: &str) -> anyhow::Result<Counted> {
    let (mut connection, mut counted) = (snapshot(url, "analytics").await?, Counted::default());
    let query = sqlx::query("SELECT minute, orders, revenue_cents FROM orders_per_minute");
    each(&mut connection, query, |row| {
        let figures = Figures { orders: row.try_get(1)?, revenue_cents: row.try_get(2)? };
        counted.minutes.insert(minute_of(row.try_get(0)?), figures);
        Ok(())
    })
    .await
    .context("cannot read the orders per minute")?;
    let query = sqlx::query(
        "SELECT product_id, sum(quantity)::bigint, sum(revenue_cents)::bigint FROM product_sales GROUP BY 1",
    );
    each(&mut connection, query, |row| {
        counted.sales.add(row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        Ok(())
    })
    .await
    .context("cannot read the sales")?;
    Ok(counted)
}
