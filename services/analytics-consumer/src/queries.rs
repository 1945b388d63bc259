//! What others may ask the analytics.

use std::collections::HashMap;
use std::ops::RangeInclusive;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use chrono::{TimeDelta, Utc};
use contracts::{Money, MoneyError};
use serde_json::{Value, json};
use service_runtime::problem::Problem;
use sqlx::PgPool;

use crate::{handler, store};

type Parameters = Query<HashMap<String, String>>;

pub(crate) fn routes(pool: PgPool) -> Router {
    Router::new()
        .route("/api/analytics/orders", get(orders))
        .route("/api/analytics/products/top", get(top_products))
        .with_state(pool)
}

/// Orders and revenue of the last `minutes` (60), in all and per minute; minutes without orders are left out.
async fn orders(State(pool): State<PgPool>, Query(parameters): Parameters) -> Result<Json<Value>, Problem> {
    let minutes = number(&parameters, "minutes", 60, 1..=10_080)?;
    let from = handler::minute(Utc::now()) - TimeDelta::minutes(minutes - 1);
    let rows = store::minutes(&pool, from).await.map_err(unavailable)?;
    let mut orders = 0;
    let mut revenue = Money::ZERO;
    let mut per_minute = Vec::with_capacity(rows.len());
    for row in rows {
        let of_minute = Money::from_cents(row.revenue_cents).map_err(too_large)?;
        orders += row.orders;
        revenue = revenue.checked_add(of_minute).map_err(too_large)?;
        per_minute.push(json!({"minute": row.minute, "orders": row.orders, "revenue": of_minute}));
    }
    Ok(Json(json!({
        "success": true,
        "data": {"orders": orders, "revenue": revenue, "minutes": per_minute}
    })))
}

/// The `limit` (10) best-selling products of the last `days` (7), by pieces.
async fn top_products(
    State(pool): State<PgPool>,
    Query(parameters): Parameters,
) -> Result<Json<Value>, Problem> {
    let limit = number(&parameters, "limit", 10, 1..=100)?;
    let days = number(&parameters, "days", 7, 1..=366)?;
    let from = (Utc::now() - TimeDelta::days(days - 1)).date_naive();
    let mut products = Vec::new();
    for row in store::top_products(&pool, from, limit).await.map_err(unavailable)? {
        let revenue = Money::from_cents(row.revenue_cents).map_err(too_large)?;
        products.push(json!({"product_id": row.product_id, "quantity": row.quantity, "revenue": revenue}));
    }
    Ok(Json(json!({"success": true, "data": products})))
}

fn number(
    parameters: &HashMap<String, String>,
    name: &str,
    default: i64,
    accepted: RangeInclusive<i64>,
) -> Result<i64, Problem> {
    let Some(text) = parameters.get(name) else { return Ok(default) };
    text.parse().ok().filter(|number| accepted.contains(number)).ok_or_else(|| {
        let expected = format!("must be a whole number from {} to {}", accepted.start(), accepted.end());
        Problem::new(StatusCode::BAD_REQUEST, format!("{name} {expected}")).parameter(name, expected)
    })
}

/// The cause is logged here, once, and not sent.
fn unavailable(error: sqlx::Error) -> Problem {
    tracing::warn!(%error, "query failed");
    Problem::unavailable("The analytics database is not available, try again")
}

fn too_large(error: MoneyError) -> Problem {
    tracing::error!(%error, "a sum cannot be shown");
    Problem::internal()
}
