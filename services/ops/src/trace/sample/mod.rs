//! An order as Jaeger tells it, for the tests: a text message that needed two attempts, an e-mail event that came twice, two batches in traces
//! of their own, and a request at the provider whose caller was killed before it sent its span.

use super::span::Span;
use super::story::Story;
use super::wire;

pub(super) const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
pub(super) const ORDER: &str = include_str!("order.json");
/// The batches with the ids of their traces.
pub(super) const BATCHES: [(&str, &str); 2] = [
    ("2c1f6d0b8a3e4f5d9b7c6a5e4d3c2b1a", include_str!("inventory_batch.json")),
    ("3d2e7c1b9f4a5e6c8d7b6a5f4e3d2c1b", include_str!("analytics_batch.json")),
];
/// What `ORDER` says of the killed caller.
pub(super) const LOST: &str = "00000000000000dd";

/// With the orphan.
pub(super) fn story() -> Story {
    told(|_| true)
}

/// Without it.
pub(super) fn complete() -> Story {
    told(|span| span.parent.as_ref().is_none_or(|parent| parent.span != LOST))
}

fn told(keep: impl Fn(&Span) -> bool) -> Story {
    let own = wire::parse(ORDER.as_bytes()).unwrap().into_iter().filter(keep).collect();
    let batches = BATCHES.iter().flat_map(|(_, json)| wire::parse(json.as_bytes()).unwrap()).collect();
    Story::new(TRACE, own, batches)
}
