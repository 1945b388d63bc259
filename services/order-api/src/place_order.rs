//! Taking an order: priced from the catalogue, then written with its event in one statement.

use std::time::Duration;

use axum::extract::State;
use chrono::Utc;
use contracts::{Envelope, ORDER_CREATED};
use service_runtime::{Problem, telemetry};
use storefront::{NewOrder, OrderAccepted, PricedOrder, Stopwatch, refusals};
use tracing::{info, warn};

use crate::Shop;
use crate::store::{self, NewEvent};

/// Longer than any healthy database takes, and together short of the limit on the whole request: a database that is frozen rather than gone
/// still gets the caller an answer that says what is known.
const PATIENCE: Duration = Duration::from_secs(5);

/// What this process is called as the source of events.
const SOURCE: &str = "/orderflow/order-api";

pub(crate) async fn place_order(
    clock: Stopwatch,
    State(shop): State<Shop>,
    order: NewOrder,
) -> Result<OrderAccepted, Problem> {
    let order = price(&shop, order).await?;
    write(&shop, &order).await?;
    shop.poke.poke();
    info!(order.id = %order.id, order.lines = order.lines.len(), order.total_cents = order.total.cents(), "order accepted");
    let message = "Order created, processing in background";
    Ok(OrderAccepted::new(order.id, order.total, clock.elapsed_ms(), message))
}

async fn price(shop: &Shop, order: NewOrder) -> Result<PricedOrder, Problem> {
    let products = order.product_ids();
    let prices = in_time(store::prices(&shop.writes, &products)).await.map_err(|error| {
        warn!(%error, "prices could not be read, order not taken");
        refusals::order_not_taken()
    })?;
    order.price(&prices)
}

/// Writes order, lines and event, all or nothing.
async fn write(shop: &Shop, order: &PricedOrder) -> Result<(), Problem> {
    // The first event of an order. It is known before the order's row exists, because nobody else can have the id.
    let event = Envelope::new(ORDER_CREATED, SOURCE, order.id, 1, Utc::now(), order.to_event());
    let event = NewEvent {
        payload: serde_json::to_string(&event).map_err(|error| {
            warn!(%error, "event could not be written as JSON");
            Problem::internal()
        })?,
        traceparent: telemetry::current_traceparent(),
        envelope: event,
    };
    // Up to here nothing was sent, so the caller may try again without a second order.
    let mut connection = in_time(shop.writes.acquire()).await.map_err(|error| {
        warn!(%error, "no connection to the database, order not taken");
        refusals::order_not_taken()
    })?;
    let trace_id = telemetry::current_trace_id();
    in_time(store::insert(&mut connection, order, trace_id.as_deref(), &event)).await.map_err(|error| {
        warn!(%error, order.id = %order.id, "no answer about an order that was sent to the database");
        refusals::order_outcome_unknown(order.id)
    })
}

/// Why the database did not do what it was asked.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    #[error("no answer within {PATIENCE:?}")]
    Silence,
}

async fn in_time<T>(work: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, Trouble> {
    Ok(tokio::time::timeout(PATIENCE, work).await.map_err(|_| Trouble::Silence)??)
}
