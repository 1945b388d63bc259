//! One request, and what its caller knows afterwards.

use std::time::Duration;

use reqwest::{RequestBuilder, StatusCode};
use serde::Deserialize;
use uuid::Uuid;

use super::order::Order;

/// The shop's HTTP interface, over kept connections.
#[derive(Clone, Debug)]
pub struct Shop {
    client: reqwest::Client,
    base: String,
}

/// What the caller of `POST /api/order` knows after one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The order stands.
    Accepted {
        /// Its id.
        order_id: Uuid,
        /// An earlier request under the same key had made it.
        replayed: bool,
    },
    /// A refusal that no repeat will change.
    Refused(String),
    /// Taken or not, the caller cannot tell: no answer, half of one, or a failure on the server's side.
    Unknown(String),
}

/// The part of the answer that matters here.
#[derive(Deserialize)]
struct Accepted {
    order_id: Uuid,
}

impl Shop {
    /// The shop at `base`, for example `http://127.0.0.1:5001`. A request without an answer ends after `timeout`.
    pub fn new(base: &str, timeout: Duration) -> reqwest::Result<Self> {
        let client = reqwest::Client::builder().timeout(timeout).build()?;
        Ok(Self { client, base: base.trim_end_matches('/').to_owned() })
    }

    /// Sends the order once.
    pub async fn order(&self, order: &Order) -> Answer {
        self.order_in_trace(order, None).await
    }

    /// Sends the order once, as part of the trace that `traceparent` names.
    pub async fn order_in_trace(&self, order: &Order, traceparent: Option<&str>) -> Answer {
        let mut request = self.client.post(format!("{}/api/order", self.base));
        if let Some(traceparent) = traceparent {
            request = request.header("traceparent", traceparent);
        }
        let answered = request.header("Idempotency-Key", &order.key).json(&order.body).send().await;
        let response = match answered {
            Ok(response) => response,
            Err(error) => return Answer::Unknown(cause(&error)),
        };
        let status = response.status();
        let replayed = response.headers().contains_key("idempotent-replayed");
        let body = match response.bytes().await {
            Ok(body) => body,
            Err(error) => return Answer::Unknown(cause(&error)),
        };
        if status.is_success() {
            return match serde_json::from_slice::<Accepted>(&body) {
                Ok(accepted) => Answer::Accepted { order_id: accepted.order_id, replayed },
                Err(error) => Answer::Unknown(format!("{status} without an order_id: {error}")),
            };
        }
        let said = format!("{status}: {}", String::from_utf8_lossy(&body));
        if is_final(status) { Answer::Refused(said) } else { Answer::Unknown(said) }
    }

    /// Whether `GET /api/orders/{id}` finds the order; an error if the shop does not say.
    pub async fn has_order(&self, id: Uuid) -> Result<bool, String> {
        match self.get(&format!("/api/orders/{id}")).await? {
            status if status.is_success() => Ok(true),
            StatusCode::NOT_FOUND => Ok(false),
            status => Err(status.to_string()),
        }
    }

    /// Reads a product.
    pub async fn product(&self, id: i32) -> Result<(), String> {
        match self.get(&format!("/api/product/{id}")).await? {
            status if status.is_success() => Ok(()),
            status => Err(status.to_string()),
        }
    }

    async fn get(&self, path: &str) -> Result<StatusCode, String> {
        let request: RequestBuilder = self.client.get(format!("{}{path}", self.base));
        let response = request.send().await.map_err(|error| cause(&error))?;
        let status = response.status();
        // Read to its end, so that the connection can be used again.
        response.bytes().await.map_err(|error| cause(&error))?;
        Ok(status)
    }
}

/// A 4xx says that the request itself is wrong, but for those three that say when, not what.
fn is_final(status: StatusCode) -> bool {
    let later = [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_EARLY, StatusCode::TOO_MANY_REQUESTS];
    status.is_client_error() && !later.contains(&status)
}

/// reqwest's own text leaves out why.
fn cause(error: &reqwest::Error) -> String {
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    format!("no answer: {innermost}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_refusal_of_the_request_itself_is_final() {
        for (status, expected) in
            [(400, true), (422, true), (404, true), (408, false), (429, false), (503, false)]
        {
            assert_eq!(is_final(StatusCode::from_u16(status).unwrap()), expected, "{status}");
        }
    }
}
