//! Metrics of every process.

use std::borrow::Cow;
use std::mem;
use std::time::Instant;

use axum::http::StatusCode;
use telemetry::metrics::{Gauge, Histograms, MOMENTS, Metrics};

use crate::process;

/// Requests, as the shell sees them.
#[derive(Clone, Debug)]
pub(crate) struct HttpMetrics {
    durations: Histograms<3>,
    active: Gauge,
}

/// What stands for the status of a request whose client went away before its answer, as nginx has it.
const GONE: &str = "499";

/// A request that is being answered, until its answer or until nobody waits for one any more.
pub(crate) struct Active {
    metrics: HttpMetrics,
    method: &'static str,
    route: String,
    started: Instant,
    status: Cow<'static, str>,
}

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

    pub(crate) fn enter(&self, method: &'static str, route: String) -> Active {
        self.active.inc();
        let status = Cow::Borrowed(GONE);
        Active { metrics: self.clone(), method, route, started: Instant::now(), status }
    }
}

impl Active {
    /// To be called in the request's span, whose trace the measurement then names.
    pub(crate) fn answered(mut self, status: StatusCode) {
        self.status = Cow::Owned(status.as_str().to_owned());
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.metrics.active.dec();
        let labels =
            [Cow::Borrowed(self.method), Cow::Owned(mem::take(&mut self.route)), mem::take(&mut self.status)];
        self.metrics.durations.get(labels).observe(self.started.elapsed().as_secs_f64());
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
