//! Taking an order: priced from the catalogue, then written with its event in one statement.

use axum::extract::State;
use axum::http::StatusCode;
use chrono::Utc;
use contracts::Money;
use persistence::grouped::NotDone;
use persistence::sql::{self, SharedError};
use service_runtime::Problem;
use storefront::{IdempotencyKey, NewOrder, OrderAccepted, PricedOrder, Stopwatch, refusals};
use telemetry::step;
use tracing::{Instrument, info, warn};
use uuid::Uuid;

use crate::Shop;
use crate::admission::Door;
use crate::idempotency::{self, Claim, Held};
use crate::order_writer::{OrderRows, Written};
use crate::patience::within;
use crate::prices::Prices;
use crate::store::NewEvent;

/// An order that stands.
struct Placed {
    id: Uuid,
    total: Money,
    /// An earlier request under the same key wrote it.
    before: bool,
}

pub(crate) async fn place_order(
    clock: Stopwatch,
    State(shop): State<Shop>,
    _door: Door,
    key: Result<Option<IdempotencyKey>, Problem>,
    order: Result<NewOrder, Problem>,
) -> Result<OrderAccepted, Problem> {
    let counted = Counted { shop: &shop, outcome: "unknown" };
    let placed = match (key, order) {
        (Ok(key), Ok(order)) => match shop.admission.enter() {
            Ok(_place) => accept(&shop, key, order).await,
            Err(refusal) => Err(refusal),
        },
        // As the refusals of extractors come: the first one counts.
        (Err(refusal), _) | (Ok(_), Err(refusal)) => Err(refusal),
    };
    counted.ended(outcome(&placed));
    let placed = placed?;
    let message = "Order created, processing in background";
    let answer = OrderAccepted::new(placed.id, placed.total, clock.elapsed_ms(), message);
    Ok(if placed.before { answer.replayed() } else { answer })
}

/// Counts an order when it is over, also if nobody waits for it any more: then its outcome is unknown.
struct Counted<'a> {
    shop: &'a Shop,
    outcome: &'static str,
}

impl Counted<'_> {
    fn ended(mut self, outcome: &'static str) {
        self.outcome = outcome;
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.shop.metrics.orders.add([self.outcome], 1);
    }
}

/// For the metrics.
fn outcome(placed: &Result<Placed, Problem>) -> &'static str {
    match placed {
        Ok(Placed { before: false, .. }) => "accepted",
        Ok(Placed { before: true, .. }) => "repeated",
        Err(problem) if !problem.status().is_server_error() => "refused",
        Err(problem) if problem.has("overloaded") => "overloaded",
        // It names the order under which the caller can look.
        Err(problem) if problem.has("order_id") => "unknown",
        Err(_) => "failed",
    }
}

async fn accept(shop: &Shop, key: Option<IdempotencyKey>, order: NewOrder) -> Result<Placed, Problem> {
    let claim = key.map(|key| Claim { key, fingerprint: order.fingerprint(), ttl: shop.idempotency_ttl });
    let has_key = claim.is_some();
    place(shop, order, claim).await.map_err(|problem| match problem.status() {
        StatusCode::SERVICE_UNAVAILABLE if has_key => refusals::repeat_under_the_key(problem),
        _ => problem,
    })
}

async fn place(shop: &Shop, order: NewOrder, claim: Option<Claim>) -> Result<Placed, Problem> {
    let prices = prices(shop, &order).instrument(step!("price order")).await?;
    match (order.price(&prices), claim) {
        (Ok(order), claim) => {
            telemetry::annotate("order.id", order.id.to_string());
            let step = step!("write order", order.id = %order.id);
            write(shop, order, claim).instrument(step).await
        }
        // The catalogue may have lost a product since this very order was taken.
        (Err(refusal), Some(claim)) => find(shop, &claim).await?.ok_or(refusal),
        (Err(refusal), None) => Err(refusal),
    }
}

/// Prices of at least those products of the order that exist.
async fn prices(shop: &Shop, order: &NewOrder) -> Result<Prices, Problem> {
    let read = shop.prices.carry_out(order.product_ids(), shop.patience.turn);
    sql::shared("SELECT", "products", read).await.map_err(|error| match error {
        SharedError::NotDone(NotDone::Full | NotDone::Late(_)) => refusals::too_many_orders(),
        SharedError::NotDone(NotDone::Unknown) | SharedError::Database(_) => {
            warn!(%error, "prices could not be read, order not taken");
            refusals::order_not_taken()
        }
    })
}

/// Writes order, lines, event and claim, all or nothing; or else finds the order that stands under the key.
async fn write(shop: &Shop, order: PricedOrder, claim: Option<Claim>) -> Result<Placed, Problem> {
    let (id, total, lines) = (order.id, order.total, order.lines.len());
    // The first event of an order. It is known before the order's row exists, because nobody else can have the id.
    let event = order.to_event().into_event(Utc::now());
    let event = NewEvent {
        payload: serde_json::to_string(&event).map_err(|error| {
            warn!(%error, "event could not be written as JSON");
            Problem::internal()
        })?,
        traceparent: telemetry::current_traceparent(),
        envelope: event,
    };
    let rows = OrderRows { order, event, trace_id: telemetry::current_trace_id(), claim: claim.clone() };
    let written = sql::shared("INSERT", "orders", shop.orders.carry_out(rows, shop.patience.turn)).await;
    let written = match written {
        Ok(written) => written,
        Err(SharedError::NotDone(NotDone::Full | NotDone::Late(_))) => {
            return Err(refusals::too_many_orders());
        }
        Err(SharedError::NotDone(NotDone::Unknown) | SharedError::Database(_)) => Written::Unknown,
    };
    match (written, claim) {
        (Written::New, _) => {
            info!(order.id = %id, order.lines = lines, order.total_cents = total.cents(), "order accepted");
            Ok(Placed { id, total, before: false })
        }
        (Written::KeyTaken, Some(claim)) => find(shop, &claim).await?.ok_or_else(refusals::key_ran_out),
        (Written::NotSent, _) => Err(refusals::order_not_taken()),
        (Written::Unknown | Written::KeyTaken, _) => Err(refusals::order_outcome_unknown(id)),
    }
}

/// The order that stands under the key, if there is one.
async fn find(shop: &Shop, claim: &Claim) -> Result<Option<Placed>, Problem> {
    let held = within(shop.patience.read, async {
        idempotency::held(&mut *shop.writes.acquire().await?, claim).await
    });
    let held = held.await.map_err(|error| {
        warn!(%error, "what stands under a key could not be read");
        refusals::cannot_read()
    })?;
    held.map(replay).transpose()
}

fn replay(held: Held) -> Result<Placed, Problem> {
    if !held.same_order {
        return Err(refusals::key_of_another_order());
    }
    info!(order.id = %held.order_id, "order repeated under its idempotency key");
    Ok(Placed { id: held.order_id, total: held.total, before: true })
}
