//! What others may ask the inventory.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use service_runtime::problem::Problem;
use sqlx::PgPool;
use uuid::Uuid;

use crate::store;

pub(crate) fn routes(pool: PgPool) -> Router {
    Router::new()
        .route("/api/stock/{product_id}", get(stock))
        .route("/api/reservations/{order_id}", get(reservations))
        .with_state(pool)
}

async fn stock(State(pool): State<PgPool>, Path(product_id): Path<String>) -> Result<Json<Value>, Problem> {
    let product_id: i32 = product_id.parse().map_err(|_| {
        Problem::new(StatusCode::BAD_REQUEST, "product_id must be a whole number")
            .parameter("product_id", "must be a whole number")
    })?;
    match store::on_hand(&pool, product_id).await.map_err(unavailable)? {
        Some(available) => {
            Ok(Json(json!({"success": true, "data": {"product_id": product_id, "available": available}})))
        }
        None => Err(Problem::new(StatusCode::NOT_FOUND, "Product not found")),
    }
}

async fn reservations(
    State(pool): State<PgPool>,
    Path(order_id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let order_id: Uuid = order_id.parse().map_err(|_| {
        Problem::new(StatusCode::BAD_REQUEST, "order_id must be a UUID")
            .parameter("order_id", "must be a UUID")
    })?;
    let lines = store::reservations(&pool, order_id).await.map_err(unavailable)?;
    if lines.is_empty() {
        return Err(Problem::new(StatusCode::NOT_FOUND, "No reservations for this order (yet)"));
    }
    let lines: Vec<Value> = lines
        .into_iter()
        .map(|(product_id, quantity, outcome)| {
            json!({"product_id": product_id, "quantity": quantity, "outcome": outcome})
        })
        .collect();
    Ok(Json(json!({"success": true, "data": {"order_id": order_id, "lines": lines}})))
}

/// The cause is logged here, once, and not sent.
fn unavailable(error: sqlx::Error) -> Problem {
    tracing::warn!(%error, "query failed");
    Problem::unavailable("The inventory database is not available, try again")
}
