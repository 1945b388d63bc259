//! `POST /sms`: the text-message company.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use futures::stream;
use serde::Deserialize;
use service_runtime::http::Json;
use service_runtime::problem::Problem;

use crate::channel::Channel;
use crate::ledger::fingerprint;
use crate::mask;
use crate::provider::{Message, Provider, Reply, is_order_id};

/// The longest text: ten messages of the short message service.
const LONGEST_TEXT: usize = 1_600;

const KEY: &str = "idempotency-key";

/// A text message as a sender hands it in.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TextMessage {
    to: String,
    text: String,
    /// What the sender's own books call it.
    order_id: Option<String>,
}

/// Takes a text message: 202 with its id. 503: not delivered, try again. 422 for a key of another message.
pub(crate) async fn post(
    State(provider): State<Arc<Provider>>,
    headers: HeaderMap,
    Json(message): Json<TextMessage>,
) -> Result<Response, Problem> {
    let key = key(&headers)?;
    check(&message)?;
    let TextMessage { to, text, order_id } = message;
    let body = format!("{to}\0{text}\0{}", order_id.as_deref().unwrap_or_default());
    let message = Message {
        channel: Channel::Sms,
        key,
        order_id,
        to: mask::phone(&to),
        body: Some(fingerprint(body.as_bytes())),
        preview: text,
    };
    match provider.deliver(message).await {
        Ok(Reply::Success { id, .. }) => {
            Ok((StatusCode::ACCEPTED, axum::Json(serde_json::json!({ "id": id }))).into_response())
        }
        Ok(Reply::Silence) => Ok(silence()),
        Ok(Reply::Refusal) => Err(Problem::unavailable("The message was not delivered, try again later")),
        Ok(Reply::KeyOfAnotherBody) => Err(Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "The Idempotency-Key was used for another message",
        )
        .parameter("Idempotency-Key", "belongs to a message with another body")),
        Err(_) => Err(Problem::unavailable("The journal cannot be written")),
    }
}

fn key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get(KEY) else { return Ok(None) };
    let accepted = (1..=255).contains(&value.len()) && value.as_bytes().iter().all(u8::is_ascii_graphic);
    match value.to_str() {
        Ok(key) if accepted => Ok(Some(key.to_owned())),
        _ => Err(Problem::new(StatusCode::BAD_REQUEST, "The Idempotency-Key is not acceptable")
            .parameter("Idempotency-Key", "must be 1 to 255 visible ASCII characters")),
    }
}

fn check(message: &TextMessage) -> Result<(), Problem> {
    let mut problem = None;
    let mut wrong = |field: &str, detail: &str| {
        let named = problem
            .take()
            .unwrap_or_else(|| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, format!("{field} {detail}")));
        problem = Some(named.field(field, detail));
    };
    let digits = message.to.strip_prefix('+').unwrap_or(&message.to);
    if !(3..=15).contains(&digits.len()) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        wrong("to", "must be 3 to 15 digits, with or without a plus sign before them");
    }
    if message.text.trim().is_empty() || message.text.chars().count() > LONGEST_TEXT {
        wrong("text", "must have 1 to 1600 characters");
    }
    if message.order_id.as_deref().is_some_and(|id| !is_order_id(id)) {
        wrong("order_id", "must be 1 to 64 visible ASCII characters");
    }
    problem.map_or(Ok(()), Err)
}

/// Closes the connection without a byte of an answer: a body that fails before its first byte makes the server give the
/// connection up while the head still waits in its write buffer.
fn silence() -> Response {
    let broken =
        stream::once(async { Err::<Vec<u8>, _>(std::io::Error::other("the answer is to get lost")) });
    (StatusCode::ACCEPTED, Body::from_stream(broken)).into_response()
}
