//! SQL of the baseline.

use std::collections::HashMap;

use contracts::{Money, MoneyError};
use persistence::sql::Traced;
use sqlx::PgPool;
use storefront::{OrderView, OrderViewLine, PricedOrder, Product};
use uuid::Uuid;

pub(crate) async fn product(pool: &PgPool, id: i32) -> Result<Option<Product>, sqlx::Error> {
    let row = sqlx::query!("SELECT id, name, description, price_cents FROM products WHERE id = $1", id)
        .fetch_optional(pool)
        .traced("SELECT", "products")
        .await?;
    row.map(|row| {
        Ok(Product {
            id: row.id,
            name: row.name,
            description: row.description,
            price: money(row.price_cents)?,
        })
    })
    .transpose()
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
    let products = rows
        .into_iter()
        .map(|row| {
            Ok(Product {
                id: row.id,
                name: row.name,
                description: row.description,
                price: money(row.price_cents)?,
            })
        })
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

/// The order and its lines, in one statement.
pub(crate) async fn insert(
    pool: &PgPool,
    order: &PricedOrder,
    trace_id: Option<String>,
) -> Result<(), sqlx::Error> {
    let numbers: Vec<i32> = (1..).take(order.lines.len()).collect();
    let products: Vec<i32> = order.lines.iter().map(|line| line.product_id).collect();
    let quantities: Vec<i32> = order.lines.iter().map(|line| line.quantity).collect();
    let prices: Vec<i64> = order.lines.iter().map(|line| line.unit_price.cents()).collect();
    sqlx::query!(
        "WITH placed AS (
             INSERT INTO orders (id, user_id, email, phone, total_cents, trace_id) VALUES ($1, $2, $3, $4, $5, $6)
             RETURNING id
         )
         INSERT INTO order_items (order_id, line_no, product_id, quantity, unit_price_cents)
         SELECT placed.id, line.* FROM placed, unnest($7::integer[], $8::integer[], $9::integer[], $10::bigint[]) AS line",
        order.id,
        order.user_id,
        order.email.as_str(),
        order.phone.as_str(),
        order.total.cents(),
        trace_id,
        &numbers,
        &products,
        &quantities,
        &prices
    )
    .execute(pool)
    .traced("INSERT", "orders")
    .await?;
    Ok(())
}

/// Takes the pieces off the stock if there are enough.
pub(crate) async fn take_off_stock(pool: &PgPool, product_id: i32, quantity: i32) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE products SET stock = stock - $2 WHERE id = $1 AND stock >= $2",
        product_id,
        quantity
    )
    .execute(pool)
    .traced("UPDATE", "products")
    .await?;
    Ok(())
}

/// Adds one order to the current minute.
pub(crate) async fn count_sale(pool: &PgPool, revenue: Money) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO sales AS s (minute, orders, revenue_cents) VALUES (date_trunc('minute', now()), 1, $1)
         ON CONFLICT (minute) DO UPDATE
         SET orders = s.orders + 1, revenue_cents = s.revenue_cents + excluded.revenue_cents",
        revenue.cents()
    )
    .execute(pool)
    .traced("INSERT", "sales")
    .await?;
    Ok(())
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

fn money(cents: i64) -> Result<Money, sqlx::Error> {
    Money::from_cents(cents).map_err(|error: MoneyError| sqlx::Error::Decode(error.into()))
}
