//! How many orders are under way at a time. What comes beyond them is refused before its body is read: that costs next to nothing, so the others go on
//! at the same pace however many more come.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use service_runtime::Problem;
use storefront::refusals;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::Shop;

/// Places for orders under way.
#[derive(Clone, Debug)]
pub(crate) struct Admission {
    places: Arc<Semaphore>,
    most: usize,
}

impl Admission {
    pub(crate) fn new(most: usize) -> Self {
        Self { places: Arc::new(Semaphore::new(most)), most }
    }

    /// A place, until it is dropped. To be taken when the whole order has arrived: who sends slowly keeps nobody else out.
    pub(crate) fn enter(&self) -> Result<OwnedSemaphorePermit, Problem> {
        self.places.clone().try_acquire_owned().map_err(|_| refusals::too_many_orders())
    }

    /// Orders under way.
    pub(crate) fn under_way(&self) -> usize {
        self.most.saturating_sub(self.places.available_permits())
    }
}

/// There was a place when the head of the request had arrived.
#[derive(Debug)]
pub(crate) struct Door;

impl FromRequestParts<Shop> for Door {
    type Rejection = Problem;

    async fn from_request_parts(_: &mut Parts, shop: &Shop) -> Result<Self, Problem> {
        shop.admission.enter().map(|_place| Self).inspect_err(|_| shop.metrics.orders.add(["overloaded"], 1))
    }
}
