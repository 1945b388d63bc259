//! What surrounds every handler.

use std::panic::AssertUnwindSafe;
use std::time::Instant;

use axum::Router;
use axum::body::to_bytes;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use futures::FutureExt;
use telemetry::metrics::Metrics;
use tracing::{Instrument, Span, debug, error, field, info_span, warn};
use uuid::Uuid;

use super::Limits;
use super::body::Arrival;
use crate::Problem;
use crate::metrics::HttpMetrics;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// W3C Trace Context Level 2: which trace the request became, in the form of `traceparent`.
const TRACERESPONSE: HeaderName = HeaderName::from_static("traceresponse");
/// Asked every few seconds by machines; traces of them would bury the others.
const UNTRACED: [&str; 5] = ["/health", "/health/live", "/health/ready", "/info", "/metrics"];
/// What stands for the route of a path that there is not.
const UNMATCHED: &str = "unmatched";
/// Longest text of a refusal by axum that is passed on.
const REASON_BYTES: usize = 1024;

/// Puts the shell around a complete router: request id, trace, measurements, limits, and every refusal as a problem.
pub fn harden(router: Router, limits: Limits, metrics: &Metrics) -> Router {
    let around = (limits, HttpMetrics::new(metrics));
    router
        .method_not_allowed_fallback(|| async {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "This path does not take this method")
        })
        .fallback(|| async { Problem::new(StatusCode::NOT_FOUND, "There is nothing at this path") })
        .layer(DefaultBodyLimit::max(limits.body_bytes))
        .layer(from_fn_with_state(around, shell))
}

async fn shell(
    State((limits, metrics)): State<(Limits, HttpMetrics)>,
    request: Request,
    next: Next,
) -> Response {
    let started = Instant::now();
    let request_id = request_id(request.headers());
    let problem_json = wants_problem_json(request.headers());
    let (method, route) = (method(&request), route(&request));
    let active = metrics.enter(method, route.clone());
    let path = request.uri().path().to_owned();
    let span = request_span(method, &route, &request_id);
    let traceparent = request.headers().get(TRACEPARENT).and_then(|value| value.to_str().ok());
    telemetry::continue_trace(&span, traceparent);

    let answer = async {
        let response = answer(request, next, limits).await;
        let mut response = as_problem(response, &request_id, problem_json).await;
        describe(&Span::current(), &path, response.status());
        active.answered(response.status());
        debug!(http.duration_ms = started.elapsed().as_secs_f64() * 1e3, "answered");
        let said =
            [(REQUEST_ID, Some(request_id.clone())), (TRACERESPONSE, telemetry::current_traceparent())];
        for (name, value) in said {
            if let Some(Ok(value)) = value.map(|value| HeaderValue::from_str(&value)) {
                response.headers_mut().insert(name, value);
            }
        }
        response
    };
    answer.instrument(span).await
}

/// What is known of a request once it is answered.
fn describe(span: &Span, path: &str, status: StatusCode) {
    span.record("http.response.status_code", i64::from(status.as_u16()));
    // A path that was refused may hold anything, personal data too.
    if !status.is_client_error() {
        span.record("url.path", path);
    }
    if status.is_server_error() {
        span.record("otel.status_code", "ERROR");
        span.record("error.type", status.as_str());
    }
}

/// The handler's answer, or a problem in its place: too large, too slow, panicked.
async fn answer(request: Request, next: Next, limits: Limits) -> Response {
    if announced_length(request.headers()).is_some_and(|length| length > limits.body_bytes as u64) {
        return too_large(limits.body_bytes).into_response();
    }
    let arrival = Arrival::default();
    let request = request.map(|body| arrival.watch(body));
    let handler = AssertUnwindSafe(next.run(request)).catch_unwind();
    let body_is_late = async {
        tokio::time::sleep(limits.body_time).await;
        if arrival.is_over() {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        // An answer that is there counts, even at the last moment.
        biased;
        answered = handler => match answered {
            Ok(response) => response,
            // The panic hook has logged it.
            Err(_panic) => Problem::internal().into_response(),
        },
        () = body_is_late => {
            let detail = format!("The request body did not arrive within {:?}", limits.body_time);
            closing(Problem::new(StatusCode::REQUEST_TIMEOUT, detail)).into_response()
        }
        () = tokio::time::sleep(limits.request_time) => {
            warn!(http.limit_ms = limits.request_time.as_millis() as u64, "request took too long, gave up");
            Problem::new(StatusCode::GATEWAY_TIMEOUT, "The request took too long; its outcome is unknown").into_response()
        }
    }
}

/// The refusal of a body that exceeds the limit.
pub(super) fn too_large(limit: usize) -> Problem {
    closing(Problem::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        format!("The request body is larger than {limit} bytes"),
    ))
}

/// The rest of the body is not read, so the connection cannot carry another request.
fn closing(problem: Problem) -> Problem {
    problem.header(header::CONNECTION, HeaderValue::from_static("close"))
}

/// Gives every 4xx and 5xx the one shape. What a handler returned as a problem keeps its members; what the router or an extractor
/// refused keeps its text; a 5xx of unknown make loses its text, which may name a cause.
async fn as_problem(response: Response, request_id: &str, problem_json: bool) -> Response {
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let problem = match parts.extensions.remove::<Problem>() {
        Some(problem) => problem,
        None if status.is_server_error() => {
            error!(http.response.status_code = status.as_u16(), "a handler failed without a problem");
            Problem::new(status, status.canonical_reason().unwrap_or("Internal error"))
        }
        None => {
            let text = to_bytes(body, REASON_BYTES).await.unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            let reason = if text.is_empty() { status.canonical_reason().unwrap_or("Refused") } else { &text };
            Problem::new(status, reason)
        }
    };
    // Headers such as Allow stay; those that describe the old body go.
    for name in [header::CONTENT_TYPE, header::CONTENT_LENGTH, header::CONTENT_ENCODING] {
        parts.headers.remove(name);
    }
    let mut answer = problem.render(request_id, problem_json);
    for (name, value) in &parts.headers {
        answer.headers_mut().insert(name, value.clone());
    }
    answer
}

/// OpenTelemetry's conventions for HTTP servers.
fn request_span(method: &'static str, route: &str, request_id: &str) -> Span {
    if UNTRACED.contains(&route) {
        return Span::none();
    }
    let known = (route != UNMATCHED).then_some(route);
    info_span!(
        parent: None,
        "request",
        otel.name = known.map_or_else(|| method.to_owned(), |route| format!("{method} {route}")),
        otel.kind = "server",
        otel.status_code = field::Empty,
        "error.type" = field::Empty,
        http.request.method = method,
        http.route = known,
        http.response.status_code = field::Empty,
        url.scheme = "http",
        url.path = field::Empty,
        request_id,
    )
}

fn route(request: &Request) -> String {
    request.extensions().get::<MatchedPath>().map_or(UNMATCHED, MatchedPath::as_str).to_owned()
}

/// The methods that the conventions know; anybody can make up others.
fn method(request: &Request) -> &'static str {
    const KNOWN: [&str; 9] = ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE", "CONNECT"];
    let method = request.method().as_str();
    KNOWN.into_iter().find(|known| *known == method).unwrap_or("_OTHER")
}

/// The caller's request id if it can do no harm in a log or a header, else a new one.
fn request_id(headers: &HeaderMap) -> String {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
    headers
        .get(REQUEST_ID)
        .and_then(|id| id.to_str().ok())
        .filter(|id| (1..=128).contains(&id.len()) && id.bytes().all(allowed))
        .map_or_else(|| Uuid::now_v7().to_string(), ToOwned::to_owned)
}

fn wants_problem_json(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|range| {
            let mut parts = range.split(';').map(str::trim);
            let named =
                parts.next().is_some_and(|name| name.eq_ignore_ascii_case("application/problem+json"));
            let refused = parts.filter_map(|part| part.strip_prefix("q=")).any(|q| q.parse() == Ok(0.0));
            named && !refused
        })
}

fn announced_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

#[cfg(test)]
mod tests;
