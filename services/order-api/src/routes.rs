//! The API's table of contents.

use axum::Router;
use axum::routing::{get, post};

use crate::{Shop, cache, catalogue, order, place_order, product};

pub(crate) fn routes(shop: Shop) -> Router {
    Router::new()
        .route("/api/product/{id}", get(product::product))
        .route("/api/products/{id}", get(product::product))
        .route("/api/products", get(catalogue::page))
        .route("/api/order", post(place_order::place_order))
        .route("/api/orders", post(place_order::place_order))
        .route("/api/orders/{id}", get(order::order))
        .route("/api/cache/stats", get(cache::stats))
        .with_state(shop)
}
