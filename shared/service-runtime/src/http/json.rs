//! A JSON request body, refused with the name of the field that does not fit.

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, FailedToBufferBody};
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Problem;

/// Reads a request body, or writes an answer, as JSON.
///
/// Refusals: 415 for another content type, 413 for too long a body, 400 for what is not JSON or does not fit the type, duplicate
/// and (where the type denies them) unknown fields included.
#[derive(Clone, Copy, Debug)]
pub struct Json<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            return Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "Content-Type must be application/json",
            ));
        }
        let body = Bytes::from_request(request, state).await.map_err(|rejection| match rejection {
            BytesRejection::FailedToBufferBody(FailedToBufferBody::LengthLimitError(_)) => {
                Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "The request body is too large")
                    .header(header::CONNECTION, header::HeaderValue::from_static("close"))
            }
            _ => Problem::new(StatusCode::BAD_REQUEST, "The request body could not be read to its end"),
        })?;
        parse(&body).map(Json)
    }
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()) else {
        return false;
    };
    let essence = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Err(Problem::new(StatusCode::BAD_REQUEST, "The request body is empty: expected JSON"));
    }
    let mut reader = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = error.path().to_string();
        refusal(&path, error.inner())
    })?;
    reader.end().map_err(|error| refusal(".", &error))?;
    Ok(value)
}

fn refusal(path: &str, error: &serde_json::Error) -> Problem {
    let text = shorten(&error.to_string());
    if !error.is_data() {
        return Problem::new(StatusCode::BAD_REQUEST, format!("The request body is not valid JSON: {text}"));
    }
    let parent = if path == "." { "" } else { path };
    // A missing or doubled field is reported on the object around it: the text names the field.
    let inner = ["missing field `", "duplicate field `", "unknown field `"]
        .iter()
        .find_map(|kind| text.strip_prefix(kind)?.split('`').next());
    let field = match inner {
        Some(name) if parent.is_empty() => name.to_owned(),
        Some(name) if !text.starts_with("missing") && parent.rsplit('.').next() == Some(name) => {
            parent.to_owned()
        }
        Some(name) => format!("{parent}.{name}"),
        None => parent.to_owned(),
    };
    if field.is_empty() {
        return Problem::new(StatusCode::BAD_REQUEST, format!("The request body does not fit: {text}"));
    }
    let field = shorten(&field);
    Problem::new(StatusCode::BAD_REQUEST, format!("{field}: {text}")).field(&field, text)
}

/// The caller's own words come back in these texts; there is no use in many of them.
fn shorten(text: &str) -> String {
    const LONGEST: usize = 200;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::Value;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Order {
        #[expect(dead_code, reason = "only its type matters here")]
        user: i64,
        items: Vec<Item>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Item {
        quantity: i32,
    }

    fn refused(body: &str) -> Value {
        parse::<Order>(body.as_bytes()).expect_err("refusal").body(None)
    }

    #[test]
    fn a_value_that_does_not_fit_is_named_by_its_path() {
        let body = refused(r#"{"user":1,"items":[{"quantity":1},{"quantity":"two"}]}"#);
        assert_eq!(body["status"], 400);
        assert_eq!(body["errors"][0]["field"], "items[1].quantity");
        assert_eq!(body["errors"][0]["pointer"], "#/items/1/quantity");
        assert!(
            body["error"].as_str().unwrap().starts_with("items[1].quantity: invalid type: string"),
            "{body}"
        );
    }

    #[test]
    fn missing_unknown_and_doubled_fields_are_named() {
        assert_eq!(refused(r#"{"items":[]}"#)["errors"][0]["field"], "user");
        assert_eq!(refused(r#"{"user":1,"user":2,"items":[]}"#)["errors"][0]["field"], "user");
        let twice = r#"{"user":1,"items":[{"quantity":1,"quantity":2}]}"#;
        assert_eq!(refused(twice)["errors"][0]["field"], "items[0].quantity");
        assert_eq!(refused(r#"{"user":1,"items":[],"extra":0}"#)["errors"][0]["field"], "extra");
        assert_eq!(refused(r#"{"user":1,"items":[{"size":0}]}"#)["errors"][0]["field"], "items[0].size");
        assert_eq!(refused(r#"{"user":1,"items":[{}]}"#)["errors"][0]["field"], "items[0].quantity");
    }

    #[test]
    fn what_is_not_json_is_refused_with_the_place() {
        for body in ["{", "{\"user\":1,}", "nope", r#"{"user":1,"items":[]} {}"#, "\u{0}"] {
            let text = refused(body)["error"].to_string();
            assert!(text.contains("not valid JSON") || text.contains("does not fit"), "{body} gave {text}");
        }
        assert!(refused(" \n")["error"].to_string().contains("empty"));
        assert!(
            refused("[1]")["error"].to_string().contains("does not fit")
                || refused("[1]")["errors"].is_array()
        );
    }

    #[test]
    fn deep_nesting_is_refused_and_does_not_overflow() {
        let deep = format!(r#"{{"user":{}{}}}"#, "[".repeat(50_000), "]".repeat(50_000));
        assert_eq!(refused(&deep)["status"], 400);
        let deep = "[".repeat(60_000);
        assert_eq!(refused(&deep)["status"], 400);
    }

    #[test]
    fn a_refusal_does_not_grow_with_the_request() {
        let long = format!(r#"{{"user":"{}","items":[]}}"#, "é".repeat(10_000));
        assert!(refused(&long).to_string().len() < 2_000);
        let long = format!(r#"{{"{}":1}}"#, "x".repeat(10_000));
        assert!(refused(&long).to_string().len() < 2_000);
    }

    #[test]
    fn a_body_that_fits_is_read() {
        let order: Order = parse(br#" {"user":1,"items":[{"quantity":2}]} "#).expect("order");
        assert_eq!(order.items[0].quantity, 2);
    }
}
