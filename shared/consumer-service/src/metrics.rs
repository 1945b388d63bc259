//! Metrics of calls to providers, for the consumers that have one.

use std::borrow::Cow;
use std::time::Duration;

use telemetry::metrics::{Histograms, MOMENTS, Metrics};

/// How long calls of one provider took, by what came of them. Clones share it.
#[derive(Clone, Debug)]
pub struct ProviderCalls {
    provider: &'static str,
    durations: Histograms<2>,
}

impl ProviderCalls {
    /// Of the provider of this name. `outcomes` are shown from the start.
    pub fn new(provider: &'static str, outcomes: &[&'static str]) -> Self {
        let durations = Histograms::new(["provider", "outcome"], MOMENTS);
        let durations = outcomes.iter().fold(durations, |all, outcome| all.with([provider, outcome]));
        Self { provider, durations }
    }

    /// Notes a call.
    pub fn note(&self, outcome: &'static str, took: Duration) {
        self.durations
            .get([Cow::Borrowed(self.provider), Cow::Borrowed(outcome)])
            .observe(took.as_secs_f64());
    }

    /// Registers them.
    pub fn register(&self, metrics: &Metrics) {
        let help = "Time that a provider took to answer a call, in seconds";
        self.durations.register(metrics, "provider_call_duration_seconds", help);
    }
}
