//! SQL of the inventory.

use std::collections::BTreeMap;

use persistence::sql::Traced;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use crate::handler::{Reservation, taken};

/// What is on hand of each product, locked until the transaction ends, in the order of the ids.
pub(crate) async fn lock_stock(
    transaction: &mut PgConnection,
    products: &[i32],
) -> Result<BTreeMap<i32, i32>, sqlx::Error> {
    let rows = sqlx::query!(
        "SELECT product_id, on_hand FROM stock WHERE product_id = ANY($1) ORDER BY product_id FOR UPDATE",
        products
    )
    .fetch_all(transaction)
    .traced("SELECT", "stock")
    .await?;
    Ok(rows.into_iter().map(|row| (row.product_id, row.on_hand)).collect())
}

/// Writes the decisions down and takes what was reserved off the stock, whose rows the transaction has locked.
pub(crate) async fn record(transaction: &mut PgConnection, lines: &[Reservation]) -> Result<(), sqlx::Error> {
    let orders: Vec<Uuid> = lines.iter().map(|line| line.order_id).collect();
    let products: Vec<i32> = lines.iter().map(|line| line.product_id).collect();
    let quantities: Vec<i32> = lines.iter().map(|line| line.quantity).collect();
    let outcomes: Vec<String> = lines.iter().map(|line| line.outcome.name().to_owned()).collect();
    let (taken, pieces): (Vec<i32>, Vec<i32>) = taken(lines).into_iter().unzip();
    sqlx::query!(
        "WITH decided AS (
             INSERT INTO reservations (order_id, product_id, quantity, outcome)
             SELECT * FROM unnest($1::uuid[], $2::integer[], $3::integer[], $4::text[])
         )
         UPDATE stock SET on_hand = on_hand - taken.pieces
         FROM unnest($5::integer[], $6::integer[]) AS taken (product_id, pieces)
         WHERE stock.product_id = taken.product_id",
        &orders,
        &products,
        &quantities,
        &outcomes,
        &taken,
        &pieces
    )
    .execute(transaction)
    .traced("INSERT", "reservations")
    .await?;
    Ok(())
}

/// What is on hand of a product; `None` if there is no such product.
pub(crate) async fn on_hand(pool: &PgPool, product_id: i32) -> Result<Option<i32>, sqlx::Error> {
    sqlx::query_scalar!("SELECT on_hand FROM stock WHERE product_id = $1", product_id)
        .fetch_optional(pool)
        .traced("SELECT", "stock")
        .await
}

/// Product, quantity and outcome of each line of an order; empty if the order has not been seen.
pub(crate) async fn reservations(
    pool: &PgPool,
    order_id: Uuid,
) -> Result<Vec<(i32, i32, String)>, sqlx::Error> {
    let rows = sqlx::query!(
        "SELECT product_id, quantity, outcome FROM reservations WHERE order_id = $1 ORDER BY product_id",
        order_id
    )
    .fetch_all(pool)
    .traced("SELECT", "reservations")
    .await?;
    Ok(rows.into_iter().map(|row| (row.product_id, row.quantity, row.outcome)).collect())
}
