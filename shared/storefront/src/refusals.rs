//! The problems that both systems know.

use axum::http::StatusCode;
use service_runtime::Problem;
use uuid::Uuid;

/// There is no such product.
pub fn product_not_found() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "Product not found")
}

/// There is no such order.
pub fn order_not_found() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "Order not found")
}

/// Something cannot be read because the database is away.
pub fn cannot_read() -> Problem {
    Problem::unavailable("The database is away; try again")
}

/// The order was not sent to the database.
pub fn order_not_taken() -> Problem {
    Problem::unavailable("The database is away and the order was not taken; try again")
}

/// The order was sent to the database and no answer came: it may stand or not. The id tells the caller where to look.
pub fn order_outcome_unknown(order_id: Uuid) -> Problem {
    Problem::unavailable("The database went away while the order was written; its outcome is unknown")
        .detail(format!(
            "Ask GET /api/orders/{order_id} before ordering again: a 404 some seconds from now means that it was not taken"
        ))
        .with("order_id", order_id.to_string())
}
