//! How many orders are under way at a time. What comes beyond them is refused before its body is read: that costs next to nothing, so the others go on
//! at the same pace however many more come.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use service_runtime::Problem;
use storefront::refusals;
use tokio::sync::OwnedSemaphorePermit;

use crate::Shop;

/// A place for an order, until it is dropped.
#[derive(Debug)]
pub(crate) struct Admitted(#[expect(dead_code, reason = "to be held, not to be read")] OwnedSemaphorePermit);

impl FromRequestParts<Shop> for Admitted {
    type Rejection = Problem;

    async fn from_request_parts(_: &mut Parts, shop: &Shop) -> Result<Self, Problem> {
        shop.admission.clone().try_acquire_owned().map(Self).map_err(|_| {
            shop.metrics.orders.add(["overloaded"], 1);
            refusals::too_many_orders()
        })
    }
}
