//! Asking Jaeger.

use std::time::Duration;

use futures::future::try_join_all;
use reqwest::StatusCode;
use serde::de::IgnoredAny;

use super::span::Span;
use super::story::{Story, linked_traces};
use super::wire;

/// Bytes of an answer that are read.
const LARGEST: usize = 64 << 20;
/// Jaeger answers at once or is away.
const CONNECT: Duration = Duration::from_secs(2);
/// How long an answer may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// Why there is nothing from Jaeger.
#[derive(Debug, thiserror::Error)]
pub(super) enum JaegerError {
    #[error(
        "Jaeger does not answer at {url} ({cause}). ./dev jaeger or ./dev up starts it; docker compose has it at http://127.0.0.1:16686; \
         --jaeger or JAEGER_URL names another one"
    )]
    Away { url: String, cause: String },
    #[error("Jaeger at {url} did not answer within {patience:?}")]
    Slow { url: String, patience: Duration },
    #[error("Jaeger at {url} answered with status {status}")]
    Status { url: String, status: StatusCode },
    #[error(
        "what answers at {url} does not talk like Jaeger: {why}. --jaeger or JAEGER_URL names another address"
    )]
    Garbage { url: String, why: String },
}

/// The HTTP API of Jaeger.
pub(super) struct Jaeger {
    client: reqwest::Client,
    url: String,
    patience: Duration,
}

impl Jaeger {
    pub(super) fn new(url: &str, patience: Duration) -> reqwest::Result<Self> {
        let client =
            reqwest::Client::builder().connect_timeout(CONNECT.min(patience)).timeout(patience).build()?;
        Ok(Self { client, url: url.trim_end_matches('/').to_owned(), patience })
    }

    /// The trace with the batches that it refers to. `None`: Jaeger knows no span of it.
    pub(super) async fn story(&self, trace: &str) -> Result<Option<Story>, JaegerError> {
        let own = self.trace(trace).await?;
        if own.is_empty() {
            return Ok(None);
        }
        let linked = linked_traces(trace, &own).into_iter().map(|linked| self.trace(linked));
        let linked = try_join_all(linked).await?;
        Ok(Some(Story::new(trace, own, linked.into_iter().flatten().collect())))
    }

    async fn trace(&self, trace: &str) -> Result<Vec<Span>, JaegerError> {
        let address = format!("{}/api/traces/{trace}", self.url);
        let mut answer = self.client.get(address).send().await.map_err(|error| self.failed(&error))?;
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| self.failed(&error))? {
            if body.len() + chunk.len() > LARGEST {
                return Err(self.garbage(format!("the answer has more than {LARGEST} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        match answer.status() {
            StatusCode::OK => wire::parse(&body).map_err(|error| self.garbage(error.to_string())),
            // Jaeger says so in JSON, though it may call it text; anybody else knows no such path.
            StatusCode::NOT_FOUND if serde_json::from_slice::<IgnoredAny>(&body).is_ok() => Ok(Vec::new()),
            StatusCode::NOT_FOUND => Err(self.garbage("it knows no /api/traces".to_owned())),
            status => Err(JaegerError::Status { url: self.url.clone(), status }),
        }
    }

    fn failed(&self, error: &reqwest::Error) -> JaegerError {
        let url = self.url.clone();
        if error.is_timeout() && !error.is_connect() {
            return JaegerError::Slow { url, patience: self.patience };
        }
        // The innermost cause says it, such as: connection refused.
        let mut cause: &dyn std::error::Error = error;
        while let Some(inner) = cause.source() {
            cause = inner;
        }
        JaegerError::Away { url, cause: cause.to_string() }
    }

    fn garbage(&self, why: String) -> JaegerError {
        JaegerError::Garbage { url: self.url.clone(), why }
    }
}
