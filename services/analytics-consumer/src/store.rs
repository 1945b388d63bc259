//! SQL of the analytics.

use chrono::{DateTime, NaiveDate, Utc};
use contracts::Money;
use sqlx::{PgConnection, PgPool};

use crate::handler::Sale;

/// Counts one order and its revenue.
pub(crate) async fn add_order(
    transaction: &mut PgConnection,
    minute: DateTime<Utc>,
    revenue: Money,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO orders_per_minute AS m (minute, orders, revenue_cents) VALUES ($1, 1, $2)
         ON CONFLICT (minute) DO UPDATE
         SET orders = m.orders + 1, revenue_cents = m.revenue_cents + excluded.revenue_cents",
        minute,
        revenue.cents()
    )
    .execute(transaction)
    .await?;
    Ok(())
}

/// Adds the sales of one order. The rows are touched in the order given.
pub(crate) async fn add_sales(
    transaction: &mut PgConnection,
    day: NaiveDate,
    sales: &[Sale],
) -> Result<(), sqlx::Error> {
    let products: Vec<i32> = sales.iter().map(|sale| sale.product_id).collect();
    let quantities: Vec<i64> = sales.iter().map(|sale| sale.quantity).collect();
    let revenues: Vec<i64> = sales.iter().map(|sale| sale.revenue.cents()).collect();
    sqlx::query!(
        "INSERT INTO product_sales AS s (day, product_id, quantity, revenue_cents)
         SELECT $1, sale.* FROM unnest($2::integer[], $3::bigint[], $4::bigint[]) AS sale (product_id, quantity, revenue_cents)
         ON CONFLICT (day, product_id) DO UPDATE
         SET quantity = s.quantity + excluded.quantity, revenue_cents = s.revenue_cents + excluded.revenue_cents",
        day,
        &products,
        &quantities,
        &revenues
    )
    .execute(transaction)
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
    .await
}
