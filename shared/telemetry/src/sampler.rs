//! Which spans are recorded: decided once for a trace, where it begins.

use opentelemetry::trace::{Link, SpanKind, TraceContextExt, TraceId, TraceState};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::{Sampler, SamplingDecision, SamplingResult, ShouldSample};

/// A span with a parent is recorded if its parent is. One that only follows from others, such as a batch of messages, is recorded if one of those
/// is. Of all others a share is, by trace id.
#[derive(Clone, Debug)]
pub(crate) struct FollowsOrShare(Sampler);

impl FollowsOrShare {
    pub(crate) fn new(ratio: f64) -> Self {
        Self(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(ratio))))
    }
}

impl ShouldSample for FollowsOrShare {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        trace_id: TraceId,
        name: &str,
        kind: &SpanKind,
        attributes: &[KeyValue],
        links: &[Link],
    ) -> SamplingResult {
        let is_root = parent.is_none_or(|parent| !parent.has_active_span());
        if is_root && !links.is_empty() {
            let follows = links.iter().any(|link| link.span_context.is_sampled());
            let decision = if follows { SamplingDecision::RecordAndSample } else { SamplingDecision::Drop };
            return SamplingResult { decision, attributes: Vec::new(), trace_state: TraceState::default() };
        }
        self.0.should_sample(parent, trace_id, name, kind, attributes, links)
    }
}
