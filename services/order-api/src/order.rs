//! Reading an order back.

use axum::extract::State;
use service_runtime::Problem;
use service_runtime::http::Json;
use storefront::{OrderAnswer, OrderId, Stopwatch, refusals};

use crate::{Shop, store};

pub(crate) async fn order(
    clock: Stopwatch,
    State(shop): State<Shop>,
    OrderId(id): OrderId,
) -> Result<Json<OrderAnswer>, Problem> {
    let order = store::order(&shop.reads, id).await.map_err(store::cannot_read)?;
    let order = order.ok_or_else(refusals::order_not_found)?;
    Ok(Json(OrderAnswer::new(order, clock.elapsed_ms())))
}
