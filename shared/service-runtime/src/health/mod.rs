//! Whether this process can do its work, for people, probes and load balancers.

mod checks;
mod usage;

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use chrono::{SecondsFormat, Utc};
use serde_json::json;

use self::checks::{Checks, Report};
use crate::{Problem, process};

/// Health of one process. Clones share it.
#[derive(Clone)]
pub struct Health(Arc<Inner>);

struct Inner {
    name: &'static str,
    checks: Checks,
    live: Vec<(&'static str, LiveCheck)>,
    ready: AtomicBool,
    usage: usage::Meter,
}

/// What a process depends on, when it was asked last.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dependency {
    pub(crate) name: &'static str,
    pub(crate) required: bool,
    pub(crate) up: bool,
}

type LiveCheck = Box<dyn Fn() -> bool + Send + Sync>;

/// Collects what a process depends on.
pub struct HealthBuilder {
    name: &'static str,
    checks: Checks,
    live: Vec<(&'static str, LiveCheck)>,
    ready: bool,
}

impl Health {
    /// Starts describing the process `name`.
    pub fn builder(name: &'static str) -> HealthBuilder {
        HealthBuilder { name, checks: Checks::default(), live: Vec::new(), ready: true }
    }

    /// Opens or closes the gate in front of `/health/ready`: a process that still migrates is alive, and not ready.
    pub fn set_ready(&self, ready: bool) {
        self.0.ready.store(ready, Ordering::Relaxed);
    }

    /// `/health`, `/health/live`, `/health/ready` and `/info`.
    pub fn routes(&self) -> Router {
        Router::new()
            .route("/health", get(full))
            .route("/health/live", get(live))
            .route("/health/ready", get(ready))
            .route("/info", get(info))
            .with_state(self.clone())
    }

    /// What it depends on.
    pub(crate) async fn dependencies(&self) -> Vec<Dependency> {
        self.0.checks.report().await.dependencies().collect()
    }

    fn is_ready(&self) -> bool {
        self.0.ready.load(Ordering::Relaxed)
    }

    /// Names of the parts that no longer move.
    fn stuck(&self) -> Vec<&'static str> {
        self.0.live.iter().filter(|(_, check)| !check()).map(|(name, _)| *name).collect()
    }
}

impl HealthBuilder {
    /// A dependency without which the process cannot work: while it is away, `/health` and `/health/ready` are 503. The error text
    /// is shown to callers and must name no secret.
    #[must_use]
    pub fn required<F, Fut>(mut self, name: &'static str, check: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), String>> + Send + 'static,
    {
        self.checks.add(name, true, check);
        self
    }

    /// A dependency without which the process works worse: while it is away, `/health` says `degraded`.
    #[must_use]
    pub fn optional<F, Fut>(mut self, name: &'static str, check: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), String>> + Send + 'static,
    {
        self.checks.add(name, false, check);
        self
    }

    /// A sign of life of one part: `false` says that it is stuck and that only a restart helps. It must not depend on anything outside
    /// the process, or an outage elsewhere would have every process restarted.
    #[must_use]
    pub fn live(mut self, name: &'static str, check: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        self.live.push((name, Box::new(check)));
        self
    }

    /// Not ready until [`Health::set_ready`] says so.
    #[must_use]
    pub fn not_ready_yet(mut self) -> Self {
        self.ready = false;
        self
    }

    /// Done.
    pub fn build(self) -> Health {
        Health(Arc::new(Inner {
            name: self.name,
            checks: self.checks,
            live: self.live,
            ready: AtomicBool::new(self.ready),
            usage: usage::Meter::default(),
        }))
    }
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Health")
            .field("name", &self.0.name)
            .field("ready", &self.is_ready())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for HealthBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HealthBuilder").field("name", &self.name).finish_non_exhaustive()
    }
}

async fn full(State(health): State<Health>) -> Response {
    let report = health.0.checks.report().await;
    let stuck = health.stuck();
    let status = if report.required_failure().is_some() || !stuck.is_empty() {
        "unhealthy"
    } else if report.is_healthy() {
        "healthy"
    } else {
        "degraded"
    };
    let started = process::facts().started;
    let uptime = (Utc::now() - started).num_milliseconds() as f64 / 1e3;
    let usage = health.0.usage.read();
    let members = [
        ("status", json!(status)),
        ("service", json!(health.0.name)),
        ("timestamp", json!(Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true))),
        ("uptime_seconds", json!(uptime)),
        ("memory", usage.memory),
        ("cpu", usage.cpu),
        ("checks", report.to_json()),
    ];
    if status == "unhealthy" {
        let reason = reason(&report, &stuck);
        let problem = Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            format!("{} is unhealthy: {reason}", health.0.name),
        );
        return members
            .into_iter()
            .fold(problem, |problem, (member, value)| problem.with(member, value))
            .into_response();
    }
    let mut body = serde_json::Map::from_iter([("success".to_owned(), json!(true))]);
    body.extend(members.into_iter().map(|(member, value)| (member.to_owned(), value)));
    Json(body).into_response()
}

async fn live(State(health): State<Health>) -> Response {
    match health.stuck().as_slice() {
        [] => Json(json!({ "success": true, "status": "live" })).into_response(),
        stuck => Problem::new(StatusCode::SERVICE_UNAVAILABLE, format!("stuck: {}", stuck.join(", ")))
            .into_response(),
    }
}

async fn ready(State(health): State<Health>) -> Response {
    if !health.is_ready() {
        return Problem::unavailable("not ready: still starting, or stopping").into_response();
    }
    let report = health.0.checks.report().await;
    match report.required_failure() {
        None => Json(json!({ "success": true, "status": "ready" })).into_response(),
        Some(failure) => Problem::unavailable(format!("not ready: {failure}")).into_response(),
    }
}

async fn info(State(health): State<Health>) -> Response {
    let facts = process::facts();
    Json(json!({
        "success": true,
        "name": health.0.name,
        "version": env!("CARGO_PKG_VERSION"),
        "commit": facts.commit,
        "started_at": facts.started.to_rfc3339_opts(SecondsFormat::Millis, true),
    }))
    .into_response()
}

fn reason(report: &Report, stuck: &[&str]) -> String {
    report.required_failure().unwrap_or_else(|| format!("stuck: {}", stuck.join(", ")))
}

#[cfg(test)]
mod tests;
