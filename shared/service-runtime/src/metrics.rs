//! Metrics of every process.

use std::borrow::Cow;
use std::time::Duration;

use axum::http::StatusCode;
use telemetry::metrics::{Gauge, Histograms, MOMENTS, Metrics};

use crate::process;

/// Requests, as the shell sees them.
#[derive(Clone, Debug)]
pub(crate) struct HttpMetrics {
    durations: Histograms<3>,
    active: Gauge,
}

/// A request that is being answered. Whoever goes away before its answer ends it too.
pub(crate) struct Active(Gauge);

impl HttpMetrics {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        let new = Self {
            durations: Histograms::new(["method", "route", "status"], MOMENTS),
            active: Gauge::default(),
        };
        new.durations.register(
            metrics,
            "http_server_request_duration_seconds",
            "Time from the head of a request to its answer, in seconds",
        );
        metrics.register("http_server_active_requests", "Requests being answered", new.active.clone());
        new
    }

    pub(crate) fn enter(&self) -> Active {
        self.active.inc();
        Active(self.active.clone())
    }

    pub(crate) fn answered(&self, method: &'static str, route: String, status: StatusCode, took: Duration) {
        let status = Cow::Owned(status.as_str().to_owned());
        self.durations.get([Cow::Borrowed(method), Cow::Owned(route), status]).observe(took.as_secs_f64());
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Which build this is.
pub(crate) fn build_info(metrics: &Metrics) {
    metrics.gauges("orderflow_build_info", "Which build this is; always 1", ["version", "commit"], || {
        vec![(
            [Cow::Borrowed(env!("CARGO_PKG_VERSION")), Cow::Borrowed(process::facts().commit.as_str())],
            1.0,
        )]
    });
}
