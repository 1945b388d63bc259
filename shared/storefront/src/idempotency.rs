//! The `Idempotency-Key` header: a caller's own name for one order, under which it can be sent again.

use axum::extract::OptionalFromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use service_runtime::Problem;

/// How the header is written for people.
pub(crate) const NAME: &str = "Idempotency-Key";
const HEADER: HeaderName = HeaderName::from_static("idempotency-key");
const LONGEST: usize = 255;

/// The value of the header, 1 to 255 visible ASCII characters, taken as it stands.
///
/// draft-ietf-httpapi-idempotency-key-header wants a quoted string (RFC 8941), most clients send the bare text. Both are
/// accepted and neither is unwrapped, so quotes are part of a key: a client that keeps to one form need not care.
///
/// As an argument of a handler it is an `Option`; without the header it is `None`. A malformed or doubled header is
/// refused with 400.
#[derive(Clone, PartialEq, Eq)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    fn parse(value: &HeaderValue) -> Option<Self> {
        let text = value.to_str().ok()?;
        let valid = (1..=LONGEST).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        valid.then(|| Self(text.to_owned()))
    }

    /// As text. It is the caller's: it may say anything, so never log it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<S: Sync> OptionalFromRequestParts<S> for IdempotencyKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Problem> {
        let mut values = parts.headers.get_all(HEADER).iter();
        match (values.next(), values.next()) {
            (None, _) => Ok(None),
            (Some(value), None) => Self::parse(value)
                .map(Some)
                .ok_or_else(|| refused(&format!("must be 1 to {LONGEST} visible ASCII characters"))),
            (Some(_), Some(_)) => Err(refused("may be given once")),
        }
    }
}

fn refused(detail: &str) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, format!("{NAME} {detail}")).request_header(NAME, detail)
}

#[cfg(test)]
mod tests {
    use axum::http::Request;
    use serde_json::json;

    use super::*;

    /// What a handler gets from a request with these headers.
    async fn read(values: &[&[u8]]) -> Result<Option<String>, Problem> {
        let (mut parts, ()) = Request::new(()).into_parts();
        for value in values {
            parts.headers.append(HEADER, HeaderValue::from_bytes(value).unwrap());
        }
        let key = IdempotencyKey::from_request_parts(&mut parts, &()).await?;
        Ok(key.map(|key| key.as_str().to_owned()))
    }

    #[tokio::test]
    async fn a_key_is_any_visible_text_of_up_to_255_characters_and_taken_as_it_stands() {
        assert_eq!(read(&[]).await.unwrap(), None);
        let longest = "~".repeat(255);
        for text in ["1", "!", "8e03978e-40d5-43dd-bc93-6894a57f9324", r#""in-quotes""#, &longest] {
            assert_eq!(read(&[text.as_bytes()]).await.unwrap().as_deref(), Some(text));
        }
    }

    #[tokio::test]
    async fn what_is_no_key_is_refused_by_the_name_of_the_header() {
        let too_long = "a".repeat(256);
        for value in
            [&b""[..], b"two words", b"a\tb", "schl\u{fc}ssel".as_bytes(), b"\xff", too_long.as_bytes()]
        {
            let problem = read(&[value]).await.unwrap_err();
            let body = problem.body(None);
            assert_eq!(problem.status(), StatusCode::BAD_REQUEST, "{value:?}");
            assert_eq!(
                body["error"], "Idempotency-Key must be 1 to 255 visible ASCII characters",
                "{value:?}"
            );
            assert_eq!(
                body["errors"],
                json!([{
                    "field": "Idempotency-Key", "header": "Idempotency-Key",
                    "detail": "must be 1 to 255 visible ASCII characters",
                }])
            );
        }
    }

    #[tokio::test]
    async fn two_headers_are_refused_even_if_they_say_the_same() {
        for values in [[&b"a"[..], b"a"], [b"a", b"b"], [b"", b"a"]] {
            let problem = read(&values).await.unwrap_err();
            assert_eq!(problem.status(), StatusCode::BAD_REQUEST);
            assert_eq!(problem.body(None)["error"], "Idempotency-Key may be given once");
        }
    }
}
