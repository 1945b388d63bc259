use std::sync::{Arc, Mutex};

use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use tracing::info_span;

use super::*;
use crate::start::{builder, subscriber};

const SENDER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const UNSAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";

#[derive(Clone, Debug, Default)]
struct Kept(Arc<Mutex<Vec<SpanData>>>);

impl SpanExporter for Kept {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.0.lock().unwrap().extend(batch);
        Ok(())
    }
}

/// The spans that `work` leaves where this share of traces is sampled.
fn recorded(ratio: f64, work: impl FnOnce()) -> Vec<SpanData> {
    let kept = Kept::default();
    let provider = builder("test", ratio).with_simple_exporter(kept.clone()).build();
    let (subscriber, _telemetry) = subscriber("test", "off".parse().unwrap(), std::io::sink, provider);
    tracing::subscriber::with_default(subscriber, work);
    std::mem::take(&mut *kept.0.lock().unwrap())
}

fn handled(consumers: Consumers, sender: &str) -> Vec<SpanData> {
    recorded(1.0, || {
        let span = info_span!("process");
        follow(&span, remote(sender).unwrap(), consumers);
        drop(span.entered());
    })
}

#[test]
fn a_message_is_handled_as_a_child_of_the_span_that_sent_it_and_linked_to_it() {
    let sender = remote(SENDER).unwrap();
    let spans = handled(Consumers::Child, SENDER);
    assert_eq!(
        (spans[0].span_context.trace_id(), spans[0].parent_span_id),
        (sender.trace_id(), sender.span_id())
    );
    assert_eq!(spans[0].links.links[0].span_context.span_id(), sender.span_id());
}

#[test]
fn or_in_a_trace_of_its_own_that_is_only_linked_to_it() {
    let sender = remote(SENDER).unwrap();
    let spans = handled(Consumers::Link, SENDER);
    assert_eq!(spans[0].parent_span_id, SpanId::INVALID);
    assert_ne!(spans[0].span_context.trace_id(), sender.trace_id());
    assert_eq!(spans[0].links.links[0].span_context.trace_id(), sender.trace_id());
}

#[test]
fn what_follows_from_others_is_recorded_if_one_of_them_is_whatever_the_share() {
    let batch = |ratio, senders: &[&str]| {
        recorded(ratio, || {
            let span = info_span!("batch");
            assert!(senders.iter().all(|sender| link(&span, Some(sender))));
            drop(span.entered());
        })
        .len()
    };
    assert_eq!(batch(0.0, &[UNSAMPLED, SENDER]), 1);
    assert_eq!(batch(1.0, &[UNSAMPLED, UNSAMPLED]), 0);
    assert_eq!(
        (batch(1.0, &[]), batch(0.0, &[])),
        (1, 0),
        "what follows from nothing is a matter of the share"
    );
}

#[test]
fn a_trace_begun_elsewhere_keeps_its_decision_whatever_the_share() {
    let continued = |ratio, parent| {
        recorded(ratio, || {
            let span = info_span!("request");
            continue_trace(&span, Some(parent));
            drop(span.entered());
        })
        .len()
    };
    assert_eq!((continued(0.0, SENDER), continued(1.0, UNSAMPLED)), (1, 0));
}
