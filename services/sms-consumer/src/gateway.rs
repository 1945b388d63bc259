//! The company that sends text messages, behind HTTP.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use consumer_service::ProviderCalls;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode, Url};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use telemetry::span::{Call, SpanKind, attribute, names};
use uuid::Uuid;

/// A network that is there connects in much less; the time-out of the whole call is for slow answers.
const CONNECT: Duration = Duration::from_secs(2);

/// A text message as the gateway takes it.
#[derive(Serialize)]
pub(crate) struct TextMessage<'a> {
    pub(crate) to: &'a str,
    pub(crate) text: &'a str,
    /// For the gateway's own books.
    pub(crate) order_id: Uuid,
}

/// Why a message was not handed in. The texts name neither recipient nor text, nor the gateway's URL, which may hold a token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// Not reached, or not in time. The message may have been taken.
    #[error("the text-message gateway gave no answer: {0}")]
    NoAnswer(&'static str),
    /// It does not know us, or is not where we look for it: nothing that this message could change.
    #[error("the text-message gateway does not serve us: it answered {0}")]
    NotServed(u16),
    /// Not this time.
    #[error("the text-message gateway answered {0}")]
    Transient(u16),
    /// Never.
    #[error("the text-message gateway answered {0}")]
    Permanent(u16),
}

/// Why there is no client for the gateway.
#[derive(Debug, thiserror::Error)]
pub enum NoClient {
    /// The token does not fit into a header. Checked here and not while the settings are read, where a refusal shows the value.
    #[error("SMS_GATEWAY_TOKEN is not valid: expected visible ASCII characters")]
    Token,
    /// No TLS, or no means to resolve names.
    #[error("the HTTP client for the text-message gateway cannot be made: {0}")]
    Client(#[source] reqwest::Error),
}

/// A way to the gateway. Sends any number of messages at a time.
pub struct Gateway {
    client: Client,
    url: Url,
    /// Why the last message found no provider, until one does.
    trouble: Mutex<Option<String>>,
    calls: ProviderCalls,
}

impl Gateway {
    /// Does not connect yet.
    pub fn new(url: Url, token: Option<&SecretString>, timeout: Duration) -> Result<Self, NoClient> {
        let mut headers = HeaderMap::new();
        // An empty setting is no token: that is how compose files say "not set".
        if let Some(token) = token.map(ExposeSecret::expose_secret).filter(|token| !token.is_empty()) {
            let mut value = HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| NoClient::Token)?;
            // Keeps it out of every debug output of the client.
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let client = Client::builder()
            .default_headers(headers)
            .timeout(timeout)
            .connect_timeout(CONNECT)
            // A redirected POST becomes a GET, and the message would be lost with a 200.
            .redirect(Policy::none())
            .build()
            .map_err(NoClient::Client)?;
        let calls = ProviderCalls::new("sms-gateway", &OUTCOMES);
        Ok(Self { client, url, trouble: Mutex::default(), calls })
    }

    /// How long its calls take.
    pub fn calls(&self) -> &ProviderCalls {
        &self.calls
    }

    /// Whether the gateway served us when it was needed last.
    pub fn state(&self) -> Result<(), String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone().map_or(Ok(()), Err)
    }

    /// Hands in one message and waits for the gateway to take it. `key` is the same for every repeat of a message.
    pub(crate) async fn send(&self, key: Uuid, message: &TextMessage<'_>) -> Result<(), SendError> {
        let started = Instant::now();
        let result = self.try_send(key, message).await;
        self.calls.note(outcome(&result), started.elapsed());
        let trouble = match &result {
            Err(error @ (SendError::NoAnswer(_) | SendError::NotServed(_))) => Some(error.to_string()),
            _ => None,
        };
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
        result
    }

    /// OpenTelemetry's conventions for HTTP clients, but for the URL: its path may hold a token as well as its query.
    fn call(&self) -> Call {
        Call::here("POST", SpanKind::Client, || {
            let host = self.url.host_str().unwrap_or_default();
            let port = self.url.port_or_known_default().unwrap_or_default();
            vec![
                attribute(names::HTTP_REQUEST_METHOD, "POST"),
                attribute(names::SERVER_ADDRESS, host.to_owned()),
                attribute(names::SERVER_PORT, i64::from(port)),
            ]
        })
    }

    async fn try_send(&self, key: Uuid, message: &TextMessage<'_>) -> Result<(), SendError> {
        let mut request =
            self.client.post(self.url.clone()).header("Idempotency-Key", key.to_string()).json(message);
        let mut call = self.call();
        if let Some(traceparent) = call.traceparent().or_else(telemetry::current_traceparent) {
            request = request.header("traceparent", traceparent);
        }
        let response = request.send().await.map_err(|error| {
            call.failed(kind(&error).replace(' ', "_"), kind(&error));
            SendError::NoAnswer(kind(&error))
        })?;
        let code = response.status();
        call.set(names::HTTP_RESPONSE_STATUS_CODE, i64::from(code.as_u16()));
        if !code.is_success() {
            call.failed(code.as_str().to_owned(), "the gateway did not take the message");
        }
        // The body says nothing that is needed here: it is not waited for.
        match response.status() {
            status if status.is_success() => Ok(()),
            status => Err(refusal(status)),
        }
    }
}

/// For the metrics.
const OUTCOMES: [&str; 5] = ["taken", "transient", "permanent", "no_answer", "not_served"];

fn outcome(result: &Result<(), SendError>) -> &'static str {
    let [taken, transient, permanent, no_answer, not_served] = OUTCOMES;
    match result {
        Ok(()) => taken,
        Err(SendError::Transient(_)) => transient,
        Err(SendError::Permanent(_)) => permanent,
        Err(SendError::NoAnswer(_)) => no_answer,
        Err(SendError::NotServed(_)) => not_served,
    }
}

fn refusal(status: StatusCode) -> SendError {
    let code = status.as_u16();
    match status {
        // Our token is wrong or has run out; every message would be refused alike until an operator mends it.
        StatusCode::UNAUTHORIZED | StatusCode::PROXY_AUTHENTICATION_REQUIRED => SendError::NotServed(code),
        // The gateway gave up waiting for our request; or it still works on an earlier try under this key.
        StatusCode::REQUEST_TIMEOUT | StatusCode::CONFLICT => SendError::Transient(code),
        StatusCode::TOO_MANY_REQUESTS => SendError::Transient(code),
        status if status.is_client_error() => SendError::Permanent(code),
        status if status.is_server_error() => SendError::Transient(code),
        // A redirect: the URL in the settings is not the gateway's.
        _ => SendError::NotServed(code),
    }
}

/// The kind of an error. Its full text holds the URL.
fn kind(error: &reqwest::Error) -> &'static str {
    if error.is_timeout() {
        "nothing in time"
    } else if error.is_connect() {
        "cannot connect"
    } else {
        "the connection failed"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: u16) -> SendError {
        refusal(StatusCode::from_u16(code).unwrap())
    }

    #[test]
    fn a_busy_gateway_is_tried_again_and_a_refused_message_is_not() {
        for code in [408, 409, 429, 500, 502, 503, 504] {
            assert_eq!(refused(code), SendError::Transient(code));
        }
        for code in [400, 403, 404, 410, 413, 415, 422] {
            assert_eq!(refused(code), SendError::Permanent(code));
        }
    }

    #[test]
    fn a_token_cannot_add_a_header_line_and_its_refusal_does_not_show_it() {
        let url: Url = "http://127.0.0.1/sms".parse().unwrap();
        let token = SecretString::from("secret\r\nX-Admin: 1");
        let refused = Gateway::new(url, Some(&token), CONNECT).err().unwrap();
        assert_eq!(refused.to_string(), "SMS_GATEWAY_TOKEN is not valid: expected visible ASCII characters");
    }

    #[test]
    fn a_wrong_token_or_address_is_not_the_messages_fault() {
        for code in [301, 302, 307, 308, 401, 407] {
            assert_eq!(refused(code), SendError::NotServed(code));
        }
    }
}
