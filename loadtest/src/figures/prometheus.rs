//! Asking Prometheus.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use super::dashboards::Query;
use super::series::{Series, Window};

/// It answers at once or is away.
const CONNECT: Duration = Duration::from_secs(2);
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why there is nothing from Prometheus.
#[derive(Debug, thiserror::Error)]
pub(super) enum PrometheusError {
    #[error(
        "Prometheus does not answer at {url} ({cause}). ./dev up starts it with everything else, ./dev start prometheus alone; \
         if there is none: apt-get install --no-install-recommends prometheus; docker compose has it at http://127.0.0.1:9090; \
         --prometheus names another one"
    )]
    Away { url: String, cause: String },
    #[error("what answers at {url} does not talk like Prometheus: {why}. --prometheus names another address")]
    Garbage { url: String, why: String },
    #[error("Prometheus at {url} refuses the query {query}: {why}")]
    Refused { url: String, query: String, why: String },
}

/// The HTTP API of Prometheus.
pub(super) struct Prometheus {
    client: reqwest::Client,
    url: String,
}

#[derive(Deserialize)]
#[serde(tag = "status", rename_all = "lowercase")]
enum Answer {
    Success { data: Matrix },
    Error { error: String },
}

#[derive(Deserialize)]
struct Matrix {
    result: Vec<Found>,
}

#[derive(Deserialize)]
struct Found {
    metric: BTreeMap<String, String>,
    /// Numbers come as text, so that `NaN` and `+Inf` can be said.
    values: Vec<(f64, String)>,
}

impl Prometheus {
    pub(super) fn new(url: &str) -> reqwest::Result<Self> {
        let client = reqwest::Client::builder().connect_timeout(CONNECT).timeout(PATIENCE).build()?;
        Ok(Self { client, url: url.trim_end_matches('/').to_owned() })
    }

    /// The curves of a query over a window.
    pub(super) async fn query_range(
        &self,
        query: &Query,
        window: Window,
    ) -> Result<Vec<Series>, PrometheusError> {
        let url = || self.url.clone();
        let expr = query.expr.replace("$__rate_interval", &window.rate_interval());
        let asked = [
            ("query", expr.clone()),
            ("start", window.start.to_string()),
            ("end", window.end().to_string()),
            ("step", window.step.to_string()),
        ];
        let away = |error: reqwest::Error| PrometheusError::Away { url: url(), cause: cause(&error) };
        let request = self.client.get(format!("{}/api/v1/query_range", self.url)).query(&asked);
        let response = request.send().await.map_err(away)?;
        let (status, text) = (response.status(), response.text().await.map_err(away)?);
        match serde_json::from_str(&text) {
            Ok(Answer::Success { data }) => {
                Ok(data.result.into_iter().map(|found| found.series(&query.legend, window)).collect())
            }
            Ok(Answer::Error { error }) => {
                Err(PrometheusError::Refused { url: url(), query: expr, why: error })
            }
            Err(error) => Err(PrometheusError::Garbage { url: url(), why: format!("{status}, {error}") }),
        }
    }
}

impl Found {
    fn series(self, legend: &str, window: Window) -> Series {
        let number = |(time, text): &(f64, String)| (*time, text.parse().unwrap_or(f64::NAN));
        let samples: Vec<(f64, f64)> = self.values.iter().map(number).collect();
        Series::new(named(legend, &self.metric), &samples, window)
    }
}

/// `legend` with the values of labels in the place of their names.
fn named(legend: &str, labels: &BTreeMap<String, String>) -> String {
    labels
        .iter()
        .fold(legend.to_owned(), |text, (name, value)| text.replace(&format!("{{{{{name}}}}}"), value))
}

/// The innermost reason; reqwest's own text repeats the address.
fn cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
