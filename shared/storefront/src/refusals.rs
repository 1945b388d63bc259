//! The problems that both systems know.

use axum::http::StatusCode;
use service_runtime::Problem;
use uuid::Uuid;

use crate::idempotency;

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

/// More orders come than are taken, and this one is not among them. The member `overloaded` tells it from a database that is away.
pub fn too_many_orders() -> Problem {
    Problem::unavailable("Too many orders at this moment and this one was not taken; try again")
        .with("overloaded", true)
}

/// The order was sent to the database and no answer came: it may stand or not. The id tells the caller where to look.
pub fn order_outcome_unknown(order_id: Uuid) -> Problem {
    Problem::unavailable("The database went away while the order was written; its outcome is unknown")
        .detail(format!(
            "Ask GET /api/orders/{order_id} before ordering again: a 404 some seconds from now means that it was not taken"
        ))
        .with("order_id", order_id.to_string())
}

/// The key stands for another order than the one in the request.
pub fn key_of_another_order() -> Problem {
    let detail = "stands for another order: send that order again as it was, or take a new key for this one";
    let status = StatusCode::UNPROCESSABLE_ENTITY;
    Problem::new(status, format!("{} {detail}", idempotency::NAME)).request_header(idempotency::NAME, detail)
}

/// The key stood for an order when this one was to be written, and was free when that order was looked up.
pub fn key_ran_out() -> Problem {
    Problem::unavailable(format!(
        "{} ran out at this moment and the order was not taken; try again",
        idempotency::NAME
    ))
}

/// Says beside a 503 how to go on when the request had a key: an earlier request under it may have written the order, or this one.
pub fn repeat_under_the_key(problem: Problem) -> Problem {
    problem.detail(format!(
        "Send the request again with the same {}: if the order stands already, the answer names it; if not, it is taken then",
        idempotency::NAME
    ))
}
