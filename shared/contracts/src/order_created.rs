//! `OrderCreated`: an order was accepted and is durable.

use chrono::{DateTime, SubsecRound, Utc};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::envelope::{DecodeError, Envelope, check_version};
use crate::money::Money;

/// Type name of [`OrderCreated`] in envelopes and in the `ce_type` header.
pub const ORDER_CREATED: &str = "OrderCreated";

/// CloudEvents `source` of [`OrderCreated`]: who decides that an order stands, whoever writes the event down.
const SOURCE: &str = "/orderflow/order-api";

/// An order as it was accepted. It carries what the consumers need, so that none of them has to ask the order API.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct OrderCreated {
    /// The order.
    pub order_id: Uuid,
    /// Who ordered.
    pub user_id: i64,
    /// Where the confirmation goes. Personal data: never log it.
    pub email: String,
    /// Where the text message goes. Personal data: never log it.
    pub phone: String,
    /// What was ordered: one line per product.
    pub items: Vec<OrderLine>,
    /// Sum over all lines.
    pub total: Money,
}

impl OrderCreated {
    /// The event, the first one of its order. Order-api writes it when it takes the order; who writes it once more from the stored order gets
    /// the same, field by field: so the time is cut to whole microseconds, which is what Postgres keeps.
    pub fn into_event(self, occurred_at: DateTime<Utc>) -> Envelope<Self> {
        Envelope::new(ORDER_CREATED, SOURCE, self.order_id, 1, occurred_at.trunc_subsecs(6), self)
    }
}

/// Debug output ends in logs, so it leaves out the personal data.
impl std::fmt::Debug for OrderCreated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OrderCreated")
            .field("order_id", &self.order_id)
            .field("items", &self.items)
            .field("total", &self.total)
            .finish_non_exhaustive()
    }
}

/// One product of an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderLine {
    /// The product.
    pub product_id: i32,
    /// How many, at least 1.
    pub quantity: i32,
    /// Price of one, from the catalogue at the time of the order.
    pub unit_price: Money,
}

/// Reads a record of the order topic.
///
/// `Ok(None)` is a sound envelope of a type that this build does not know: it is to be skipped and counted. Fields
/// that this build does not know are ignored.
pub fn decode_order_created(payload: &[u8]) -> Result<Option<Envelope<OrderCreated>>, DecodeError> {
    // The data are parsed only after type and version are known to be ours.
    let raw: Envelope<&RawValue> = serde_json::from_slice(payload)
        .map_err(|error| DecodeError::NotAnEnvelope(DecodeError::place(&error)))?;
    if raw.event_type != ORDER_CREATED {
        return Ok(None);
    }
    check_version(&raw.schema_version)?;
    let data: OrderCreated = serde_json::from_str(raw.data.get())
        .map_err(|error| DecodeError::BadData(DecodeError::place(&error)))?;
    if data.order_id != raw.aggregate_id {
        return Err(DecodeError::BadData("order_id is not the aggregate of the envelope".to_owned()));
    }
    if data.items.is_empty() || data.items.iter().any(|line| line.quantity < 1) {
        return Err(DecodeError::BadData(
            "an order has at least one line, and no line has less than one piece".into(),
        ));
    }
    Ok(Some(Envelope {
        id: raw.id,
        event_type: raw.event_type,
        schema_version: raw.schema_version,
        source: raw.source,
        aggregate_id: raw.aggregate_id,
        sequence: raw.sequence,
        occurred_at: raw.occurred_at,
        data,
    }))
}
