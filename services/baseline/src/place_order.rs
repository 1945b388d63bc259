//! Placing an order: every step, one after another, while the caller waits.
//!
//! An `Idempotency-Key` is checked as in order-api and then left alone: a repeat is another order. Remembering the order would not
//! be enough here, where a crash or a failure in the middle leaves open which of the later steps were done.

use std::time::Duration;

use axum::extract::State;
use service_runtime::Problem;
use storefront::{IdempotencyKey, NewOrder, OrderAccepted, PricedOrder, StepFailure, Stopwatch, refusals};
use tracing::warn;

use crate::{Shop, store};

pub(crate) async fn place_order(
    clock: Stopwatch,
    State(shop): State<Shop>,
    _key: Option<IdempotencyKey>,
    order: NewOrder,
) -> Result<OrderAccepted, Problem> {
    let prices = store::prices(&shop.pool, &order.product_ids()).await.map_err(|error| {
        warn!(%error, "prices could not be read");
        refusals::order_not_taken()
    })?;
    let order = order.price(&prices)?;

    tokio::time::sleep(shop.costs.insert).await;
    store::insert(&shop.pool, &order, telemetry::current_trace_id()).await.map_err(|error| {
        warn!(%error, order_id = %order.id, "order could not be written");
        refusals::order_outcome_unknown(order.id)
    })?;

    // The order stands from here on: what fails now is told, and takes nothing back.
    let mut failures = Vec::new();
    failures.extend(call_company("email", shop.costs.email, shop.costs.failure_rate).await.err());
    failures.extend(call_company("sms", shop.costs.sms, shop.costs.failure_rate).await.err());
    failures.extend(update_stock(&shop, &order).await.err());
    failures.extend(count(&shop, &order).await.err());

    let accepted =
        OrderAccepted::new(order.id, order.total, clock.elapsed_ms(), "Order created and processed");
    Ok(accepted.with_failures(failures))
}

/// A call to an outside company: it takes its time, and sometimes it fails.
async fn call_company(step: &'static str, latency: Duration, failure_rate: f64) -> Result<(), StepFailure> {
    tokio::time::sleep(latency).await;
    if rand::random_bool(failure_rate) {
        return Err(StepFailure { step, detail: "the provider refused the message".to_owned() });
    }
    Ok(())
}

/// A line that the stock cannot serve is left as it is, as in the event-driven system, where it is no error either.
async fn update_stock(shop: &Shop, order: &PricedOrder) -> Result<(), StepFailure> {
    for line in &order.lines {
        tokio::time::sleep(shop.costs.stock).await;
        store::take_off_stock(&shop.pool, line.product_id, line.quantity)
            .await
            .map_err(|error| step_failed("inventory", &error))?;
    }
    Ok(())
}

async fn count(shop: &Shop, order: &PricedOrder) -> Result<(), StepFailure> {
    tokio::time::sleep(shop.costs.analytics).await;
    store::count_sale(&shop.pool, order.total).await.map_err(|error| step_failed("analytics", &error))
}

fn step_failed(step: &'static str, error: &sqlx::Error) -> StepFailure {
    warn!(step, %error, "a step of an order failed");
    StepFailure { step, detail: "the database is away".to_owned() }
}
