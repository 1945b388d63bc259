//! `/metrics`, for Prometheus.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;
use telemetry::metrics::{self, Metrics};

use crate::health::{Dependency, Health};
use crate::metrics::build_info;

#[derive(Clone)]
struct Scrape {
    metrics: Metrics,
    health: Health,
    /// What the dependencies answered last.
    up: Arc<Mutex<Vec<Dependency>>>,
}

/// `GET /metrics`: everything that is registered in `metrics`, and whether the dependencies of `health` answer. It asks them at most as often as
/// `/health` does.
pub fn routes(metrics: &Metrics, health: &Health) -> Router {
    let scrape = Scrape { metrics: metrics.clone(), health: health.clone(), up: Arc::default() };
    let up = scrape.up.clone();
    metrics.gauges(
        "dependency_up",
        "Whether what this process depends on answers: 1 or 0",
        ["dependency", "required"],
        move || {
            let up = up.lock().unwrap_or_else(PoisonError::into_inner);
            let one = |one: &Dependency| {
                let required = if one.required { "true" } else { "false" };
                ([Cow::Borrowed(one.name), Cow::Borrowed(required)], f64::from(u8::from(one.up)))
            };
            up.iter().map(one).collect()
        },
    );
    build_info(metrics);
    Router::new().route("/metrics", get(text)).with_state(scrape)
}

async fn text(State(scrape): State<Scrape>) -> impl IntoResponse {
    let up = scrape.health.dependencies().await;
    *scrape.up.lock().unwrap_or_else(PoisonError::into_inner) = up;
    ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], scrape.metrics.text())
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use tower::ServiceExt;

    use super::*;
    use crate::http::{Limits, harden};

    async fn get_text(router: &Router, path: &str) -> String {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        String::from_utf8(to_bytes(response.into_body(), usize::MAX).await.unwrap().to_vec()).unwrap()
    }

    #[tokio::test]
    async fn metrics_show_requests_by_route_and_status_and_which_dependency_is_away() {
        let metrics = Metrics::new();
        let health = Health::builder("test")
            .required("postgres", async || Ok(()))
            .optional("redis", async || Err("gone".to_owned()))
            .build();
        let router = Router::new()
            .route("/thing/{id}", get(async || "here"))
            .route("/hang", get(async || std::future::pending::<String>().await))
            .merge(routes(&metrics, &health));
        let router = harden(router, Limits::default(), &metrics);
        for path in ["/thing/1", "/thing/2", "/nowhere/user@example.com"] {
            get_text(&router, path).await;
        }
        // A client that goes away.
        let gone = get_text(&router, "/hang");
        assert!(tokio::time::timeout(std::time::Duration::from_millis(20), gone).await.is_err());
        let text = get_text(&router, "/metrics").await;
        let series = "http_server_request_duration_seconds_count";
        for line in [
            &format!(r#"{series}{{method="GET",route="/thing/{{id}}",status="200"}} 2"#),
            &format!(r#"{series}{{method="GET",route="unmatched",status="404"}} 1"#),
            r#"http_server_request_duration_seconds_count{method="GET",route="/hang",status="499"} 1"#,
            "http_server_active_requests 1",
            r#"dependency_up{dependency="postgres",required="true"} 1.0"#,
            r#"dependency_up{dependency="redis",required="false"} 0.0"#,
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        assert!(text.contains("\norderflow_build_info{version=") && !text.contains('@'), "{text}");
    }
}
