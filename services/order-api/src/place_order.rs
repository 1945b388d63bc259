//! Taking an order: priced from the catalogue, then written with its event in one statement.

use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use chrono::Utc;
use contracts::Money;
use service_runtime::Problem;
use storefront::{IdempotencyKey, NewOrder, OrderAccepted, PricedOrder, Stopwatch, refusals};
use telemetry::step;
use tracing::{Instrument, info, warn};
use uuid::Uuid;

use crate::Shop;
use crate::idempotency::{self, Claim, Held};
use crate::store::{self, NewEvent};

/// Longer than any healthy database takes, and together short of the limit on the whole request: a database that is frozen rather than gone
/// still gets the caller an answer that says what is known.
const PATIENCE: Duration = Duration::from_secs(5);

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
    key: Result<Option<IdempotencyKey>, Problem>,
    order: Result<NewOrder, Problem>,
) -> Result<OrderAccepted, Problem> {
    let counted = Counted { shop: &shop, outcome: "unknown" };
    let placed = match (key, order) {
        (Ok(key), Ok(order)) => accept(&shop, key, order).await,
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
        // It names the order under which the caller can look.
        Err(problem) if problem.has("order_id") => "unknown",
        Err(_) => "failed",
    }
}

async fn accept(shop: &Shop, key: Option<IdempotencyKey>, order: NewOrder) -> Result<Placed, Problem> {
    let claim = key.map(|key| Claim { key, fingerprint: order.fingerprint(), ttl: shop.idempotency_ttl });
    place(shop, order, claim.as_ref()).await.map_err(|problem| match claim {
        Some(_) if problem.status() == StatusCode::SERVICE_UNAVAILABLE => {
            refusals::repeat_under_the_key(problem)
        }
        _ => problem,
    })
}

async fn place(shop: &Shop, order: NewOrder, claim: Option<&Claim>) -> Result<Placed, Problem> {
    let products = order.product_ids();
    let read = in_time(store::prices(&shop.writes, &products)).instrument(step!("price order"));
    let prices = read.await.map_err(|error| {
        warn!(%error, "prices could not be read, order not taken");
        refusals::order_not_taken()
    })?;
    match (order.price(&prices), claim) {
        (Ok(order), _) => {
            telemetry::annotate("order.id", order.id.to_string());
            write(shop, &order, claim).instrument(step!("write order", order.id = %order.id)).await
        }
        // The catalogue may have lost a product since this very order was taken.
        (Err(refusal), Some(claim)) => find(shop, claim).await?.ok_or(refusal),
        (Err(refusal), None) => Err(refusal),
    }
}

/// Writes order, lines, event and claim, all or nothing; or else finds the order that stands under the key.
async fn write(shop: &Shop, order: &PricedOrder, claim: Option<&Claim>) -> Result<Placed, Problem> {
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
    // Up to here nothing was sent, so the caller may try again without a second order.
    let mut connection = in_time(shop.writes.acquire()).await.map_err(|error| {
        warn!(%error, "no connection to the database, order not taken");
        refusals::order_not_taken()
    })?;
    let trace_id = telemetry::current_trace_id();
    let statements = async {
        let inserted = store::insert(&mut connection, order, trace_id.as_deref(), &event, claim).await?;
        let held = match claim {
            // A statement of its own: the insert does not see what was committed while it waited.
            Some(claim) if !inserted => idempotency::held(&mut connection, claim).await?,
            _ => None,
        };
        Ok((inserted, held))
    };
    let (inserted, held) = in_time(statements).await.map_err(|error| {
        warn!(%error, order.id = %order.id, "no answer about an order that was sent to the database");
        refusals::order_outcome_unknown(order.id)
    })?;
    if inserted {
        shop.poke.poke();
        info!(order.id = %order.id, order.lines = order.lines.len(), order.total_cents = order.total.cents(), "order accepted");
        return Ok(Placed { id: order.id, total: order.total, before: false });
    }
    replay(held.ok_or_else(refusals::key_ran_out)?)
}

/// The order that stands under the key, if there is one.
async fn find(shop: &Shop, claim: &Claim) -> Result<Option<Placed>, Problem> {
    let held = in_time(async { idempotency::held(&mut *shop.writes.acquire().await?, claim).await });
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
