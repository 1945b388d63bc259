//! Orders as columns, which is how one statement takes many.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::order_writer::OrderRows;

/// Columns of the same length within each part.
#[derive(Default)]
pub(super) struct Columns<'a> {
    pub(super) claims: Claims<'a>,
    pub(super) orders: Orders<'a>,
    pub(super) lines: Lines,
    pub(super) events: Events<'a>,
    /// Age at which a key is free again, in seconds.
    pub(super) ttl: f64,
}

#[derive(Default)]
pub(super) struct Claims<'a> {
    pub(super) keys: Vec<&'a str>,
    pub(super) fingerprints: Vec<&'a [u8]>,
    pub(super) orders: Vec<Uuid>,
}

#[derive(Default)]
pub(super) struct Orders<'a> {
    pub(super) ids: Vec<Uuid>,
    pub(super) user_ids: Vec<i64>,
    pub(super) emails: Vec<&'a str>,
    pub(super) phones: Vec<&'a str>,
    pub(super) totals: Vec<i64>,
    pub(super) trace_ids: Vec<Option<&'a str>>,
    pub(super) sequences: Vec<i64>,
    pub(super) times: Vec<DateTime<Utc>>,
}

#[derive(Default)]
pub(super) struct Lines {
    pub(super) orders: Vec<Uuid>,
    pub(super) numbers: Vec<i32>,
    pub(super) products: Vec<i32>,
    pub(super) quantities: Vec<i32>,
    pub(super) prices: Vec<i64>,
}

#[derive(Default)]
pub(super) struct Events<'a> {
    pub(super) ids: Vec<Uuid>,
    pub(super) types: Vec<&'a str>,
    pub(super) sources: Vec<&'a str>,
    pub(super) traceparents: Vec<Option<&'a str>>,
    pub(super) payloads: Vec<&'a str>,
}

impl<'a> Columns<'a> {
    pub(super) fn of(all: &[&'a OrderRows]) -> Self {
        let mut columns = Self::default();
        let Self { claims, orders, lines, events, ttl } = &mut columns;
        for OrderRows { order, event, trace_id, claim } in all {
            if let Some(claim) = claim {
                claims.keys.push(claim.key.as_str());
                claims.fingerprints.push(claim.fingerprint.as_bytes());
                claims.orders.push(order.id);
                // The same for all of a process.
                *ttl = claim.ttl.as_secs_f64();
            }
            orders.ids.push(order.id);
            orders.user_ids.push(order.user_id);
            orders.emails.push(order.email.as_str());
            orders.phones.push(order.phone.as_str());
            orders.totals.push(order.total.cents());
            orders.trace_ids.push(trace_id.as_deref());
            orders.sequences.push(event.envelope.sequence);
            orders.times.push(event.envelope.occurred_at);
            for (number, line) in (1..).zip(&order.lines) {
                lines.orders.push(order.id);
                lines.numbers.push(number);
                lines.products.push(line.product_id);
                lines.quantities.push(line.quantity);
                lines.prices.push(line.unit_price.cents());
            }
            events.ids.push(event.envelope.id);
            events.types.push(&event.envelope.event_type);
            events.sources.push(&event.envelope.source);
            events.traceparents.push(event.traceparent.as_deref());
            events.payloads.push(&event.payload);
        }
        columns
    }
}
