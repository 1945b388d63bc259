//! SQL of the analytics.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, Utc};
use persistence::sql::Traced;
use sqlx::{PgConnection, PgPool};

use crate::handler;

/// Counts orders and their revenue. The rows are touched in the order of the minutes.
pub(crate) async fn add_orders(
    transaction: &mut PgConnection,
    sums: &BTreeMap<DateTime<Utc>, handler::Minute>,
) -> Result<(), sqlx::Error> {
    let minutes: Vec<DateTime<Utc>> = sums.keys().copied().collect();
    let orders: Vec<i64> = sums.values().map(|minute| minute.orders).collect();
    let revenues: Vec<i64> = sums.values().map(|minute| minute.revenue.cents()).collect();
    sqlx::query!(
        "INSERT INTO orders_per_minute AS m (minute, orders, revenue_cents)
         SELECT * FROM unnest($1::timestamptz[], $2::bigint[], $3::bigint[]) AS added (minute, orders, revenue_cents) ORDER BY minute
         ON CONFLICT (minute) DO UPDATE
         SET orders = m.orders + excluded.orders, revenue_cents = m.revenue_cents + excluded.revenue_cents",
        &minutes,
        &orders,
        &revenues
    )
    .execute(transaction)
    .traced("INSERT", "orders_per_minute")
    .await?;
    Ok(())
}

/// Adds sales. The rows are touched in the order of day and product.
pub(crate) async fn add_sales(
    transaction: &mut PgConnection,
    sums: &BTreeMap<(NaiveDate, i32), handler::Sale>,
) -> Result<(), sqlx::Error> {
    let (days, products): (Vec<NaiveDate>, Vec<i32>) = sums.keys().copied().unzip();
    let quantities: Vec<i64> = sums.values().map(|sale| sale.quantity).collect();
    let revenues: Vec<i64> = sums.values().map(|sale| sale.revenue.cents()).collect();
    sqlx::query!(
        "INSERT INTO product_sales AS s (day, product_id, quantity, revenue_cents)
         SELECT * FROM unnest($1::date[], $2::integer[], $3::bigint[], $4::bigint[]) AS sale (day, product_id, quantity, revenue_cents)
         ORDER BY day, product_id
         ON CONFLICT (day, product_id) DO UPDATE
         SET quantity = s.quantity + excluded.quantity, revenue_cents = s.revenue_cents + excluded.revenue_cents",
        &days,
        &products,
        &quantities,
        &revenues
    )
    .execute(transaction)
    .traced("INSERT", "product_sales")
    .await?;
    Ok(())
}

/// One minute with orders.
pub(crate) struct Minute {
    pub(crate) minute: DateTime<Utc>,
    pub(crate) orders: i64,
    pub(crate) revenue_cents: i64,
}

/// The minutes since `from` that had orders, oldest first.
pub(crate) async fn minutes(pool: &PgPool, from: DateTime<Utc>) -> Result<Vec<Minute>, sqlx::Error> {
    sqlx::query_as!(
        Minute,
        "SELECT minute, orders, revenue_cents FROM orders_per_minute WHERE minute >= $1 ORDER BY minute",
        from
    )
    .fetch_all(pool)
    .traced("SELECT", "orders_per_minute")
    .await
}

/// A product with its sales.
pub(crate) struct Top {
    pub(crate) product_id: i32,
    pub(crate) quantity: i64,
    pub(crate) revenue_cents: i64,
}

/// The products with the most pieces sold since `from`, best first.
pub(crate) async fn top_products(
    pool: &PgPool,
    from: NaiveDate,
    limit: i64,
) -> Result<Vec<Top>, sqlx::Error> {
    sqlx::query_as!(
        Top,
        r#"SELECT product_id, sum(quantity)::bigint AS "quantity!", sum(revenue_cents)::bigint AS "revenue_cents!"
           FROM product_sales WHERE day >= $1
           GROUP BY product_id ORDER BY 2 DESC, 1 LIMIT $2"#,
        from,
        limit
    )
    .fetch_all(pool)
    .traced("SELECT", "product_sales")
    .await
}
