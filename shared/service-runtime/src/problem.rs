//! The one shape of every refusal and failure (RFC 9457).

use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

/// A 4xx or 5xx answer.
///
/// ```
/// # use service_runtime::Problem;
/// # use axum::http::StatusCode;
/// let problem = Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "items[0].quantity must be 1 to 1000")
///     .field("items[0].quantity", "must be 1 to 1000");
/// assert_eq!(problem.body(None)["errors"][0]["pointer"], "#/items/0/quantity");
/// ```
#[derive(Clone, Debug)]
pub struct Problem(Box<Content>);

/// Boxed, so that a `Result` with a problem in it stays small.
#[derive(Clone, Debug)]
struct Content {
    status: StatusCode,
    error: String,
    detail: Option<String>,
    errors: Vec<Value>,
    members: Map<String, Value>,
    headers: HeaderMap,
}

impl Problem {
    /// A problem that `error` sums up for the caller. Never put the cause of a 5xx or personal data into it.
    pub fn new(status: StatusCode, error: impl Into<String>) -> Self {
        Self(Box::new(Content {
            status,
            error: error.into(),
            detail: None,
            errors: Vec::new(),
            members: Map::new(),
            headers: HeaderMap::new(),
        }))
    }

    /// The database, or whatever else the request cannot do without, is away.
    pub fn unavailable(error: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, error)
            .header(header::RETRY_AFTER, HeaderValue::from_static("1"))
    }

    /// A failure of ours. The cause belongs into the log.
    pub fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "Internal error")
    }

    /// Says more than `error` does; without it, `detail` repeats `error`.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.0.detail = Some(detail.into());
        self
    }

    /// Names one field of the request body, in the form `items[0].quantity`, and what is wrong with it.
    #[must_use]
    pub fn field(mut self, field: &str, detail: impl Into<String>) -> Self {
        self.0.errors.push(json!({ "field": field, "pointer": pointer(field), "detail": detail.into() }));
        self
    }

    /// Names one path or query parameter and what is wrong with it.
    #[must_use]
    pub fn parameter(mut self, parameter: &str, detail: impl Into<String>) -> Self {
        self.0.errors.push(json!({ "field": parameter, "parameter": parameter, "detail": detail.into() }));
        self
    }

    /// Names one request header and what is wrong with it.
    #[must_use]
    pub fn request_header(mut self, header: &str, detail: impl Into<String>) -> Self {
        self.0.errors.push(json!({ "field": header, "header": header, "detail": detail.into() }));
        self
    }

    /// Adds a member of its own, or replaces a standard one.
    #[must_use]
    pub fn with(mut self, member: &str, value: impl Into<Value>) -> Self {
        self.0.members.insert(member.to_owned(), value.into());
        self
    }

    /// Adds a response header.
    #[must_use]
    pub fn header(mut self, name: header::HeaderName, value: HeaderValue) -> Self {
        self.0.headers.insert(name, value);
        self
    }

    /// Whether it says something under this name beside the members of the standard.
    pub fn has(&self, member: &str) -> bool {
        self.0.members.contains_key(member)
    }

    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    /// The JSON body.
    pub fn body(&self, request_id: Option<&str>) -> Value {
        let mut body = Map::new();
        body.insert("success".into(), false.into());
        body.insert("error".into(), self.0.error.as_str().into());
        body.insert("type".into(), "about:blank".into());
        body.insert("title".into(), title(self.0.status).into());
        body.insert("status".into(), self.0.status.as_u16().into());
        body.insert("detail".into(), self.0.detail.as_deref().unwrap_or(&self.0.error).into());
        if !self.0.errors.is_empty() {
            body.insert("errors".into(), self.0.errors.clone().into());
        }
        if let Some(id) = request_id {
            body.insert("request_id".into(), id.into());
        }
        body.extend(self.0.members.clone());
        body.into()
    }

    /// Writes the answer in the media type the caller asks for.
    pub(crate) fn render(&self, request_id: &str, problem_json: bool) -> Response {
        let media_type = if problem_json { "application/problem+json" } else { "application/json" };
        let mut response = self.0.headers.clone().into_response();
        *response.status_mut() = self.0.status;
        *response.body_mut() = self.body(Some(request_id)).to_string().into();
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
        response
    }
}

/// The hardened router writes the body once more, with the request id and in the media type that was asked for.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.0.headers.clone().into_response();
        *response.status_mut() = self.0.status;
        *response.body_mut() = self.body(None).to_string().into();
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response.extensions_mut().insert(self);
        response
    }
}

/// Status names of RFC 9110, where the `http` crate still has older ones.
fn title(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNPROCESSABLE_ENTITY => "Unprocessable Content",
        StatusCode::PAYLOAD_TOO_LARGE => "Content Too Large",
        other => other.canonical_reason().unwrap_or("Unknown"),
    }
}

/// `items[0].quantity` as a JSON pointer in a URI fragment (RFC 6901, section 6).
fn pointer(field: &str) -> String {
    let mut pointer = String::from("#/");
    for byte in field.bytes() {
        match byte {
            b'.' | b'[' => pointer.push('/'),
            b']' => {}
            b'~' => pointer.push_str("~0"),
            b'/' => pointer.push_str("~1"),
            byte if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_') => pointer.push(byte.into()),
            byte => pointer.push_str(&format!("%{byte:02X}")),
        }
    }
    pointer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_named_by_path_and_by_pointer() {
        assert_eq!(pointer("items[0].quantity"), "#/items/0/quantity");
        assert_eq!(pointer("e~m/a il"), "#/e~0m~1a%20il");
    }

    #[test]
    fn success_and_error_stand_beside_the_members_of_the_standard() {
        let body = Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "email is not valid")
            .field("email", "is not valid")
            .with("order_id", "1")
            .body(Some("r-1"));
        assert_eq!(
            body,
            json!({
                "success": false, "error": "email is not valid", "type": "about:blank", "title": "Unprocessable Content",
                "status": 422, "detail": "email is not valid", "request_id": "r-1", "order_id": "1",
                "errors": [{ "field": "email", "pointer": "#/email", "detail": "is not valid" }],
            })
        );
    }
}
