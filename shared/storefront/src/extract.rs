//! Path and query parameters, and the clock.

use std::convert::Infallible;
use std::time::Instant;

use axum::extract::{FromRequestParts, Path, Query};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde::Deserialize;
use service_runtime::Problem;
use uuid::Uuid;

use crate::refusals;

/// Runs from the moment the handler's arguments are read. Put it first.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Milliseconds so far, down to microseconds: what an answer gives as `response_time_ms`.
    pub fn elapsed_ms(self) -> f64 {
        self.0.elapsed().as_micros() as f64 / 1e3
    }
}

impl<S: Sync> FromRequestParts<S> for Stopwatch {
    type Rejection = Infallible;

    async fn from_request_parts(_: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(Instant::now()))
    }
}

/// `{id}` of a product. A number that no product can have is not found; what is no number is refused.
#[derive(Clone, Copy, Debug)]
pub struct ProductId(pub i32);

impl<S: Send + Sync> FromRequestParts<S> for ProductId {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let refused = || refused("id", "must be a whole number");
        let Path(id) = Path::<String>::from_request_parts(parts, state).await.map_err(|_| refused())?;
        let digits = id.strip_prefix('-').unwrap_or(&id);
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(refused());
        }
        id.parse().map(Self).map_err(|_| refusals::product_not_found())
    }
}

/// `{id}` of an order.
#[derive(Clone, Copy, Debug)]
pub struct OrderId(pub Uuid);

impl<S: Send + Sync> FromRequestParts<S> for OrderId {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let refused = || refused("id", "must be a UUID");
        let Path(id) = Path::<String>::from_request_parts(parts, state).await.map_err(|_| refused())?;
        Uuid::parse_str(&id).map(Self).map_err(|_| refused())
    }
}

/// `?page=1&per_page=20`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    number: u32,
    per_page: u32,
}

impl Page {
    const MOST_PER_PAGE: u32 = 100;
    const PER_PAGE: u32 = 20;

    /// Which page, from 1.
    pub fn number(self) -> u32 {
        self.number
    }

    /// How many products on a page.
    pub fn per_page(self) -> u32 {
        self.per_page
    }

    /// How many products come before this page.
    pub fn offset(self) -> i64 {
        (i64::from(self.number) - 1) * i64::from(self.per_page)
    }
}

#[derive(Deserialize)]
struct PageQuery {
    page: Option<String>,
    per_page: Option<String>,
}

impl<S: Send + Sync> FromRequestParts<S> for Page {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Query(query) = Query::<PageQuery>::from_request_parts(parts, state)
            .await
            .map_err(|_| refused("page", "and per_page may each be given once, as whole numbers"))?;
        let number = match query.page.as_deref() {
            None => 1,
            Some(text) => text
                .parse()
                .ok()
                .filter(|page| *page >= 1)
                .ok_or_else(|| refused("page", "must be 1 or more"))?,
        };
        let per_page = match query.per_page.as_deref() {
            None => Self::PER_PAGE,
            Some(text) => text
                .parse()
                .ok()
                .filter(|size| (1..=Self::MOST_PER_PAGE).contains(size))
                .ok_or_else(|| refused("per_page", "must be 1 to 100"))?,
        };
        Ok(Self { number, per_page })
    }
}

fn refused(parameter: &str, detail: &str) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, format!("{parameter} {detail}")).parameter(parameter, detail)
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use axum::routing::get;
    use serde_json::{Value, json};
    use tower::ServiceExt;

    use super::*;

    async fn ask(path: &str) -> (u16, Value) {
        let router = Router::new()
            .route("/product/{id}", get(async |ProductId(id): ProductId| id.to_string()))
            .route("/orders/{id}", get(async |OrderId(id): OrderId| json!(id).to_string()))
            .route(
                "/products",
                get(async |page: Page| json!([page.number, page.per_page, page.offset()]).to_string()),
            );
        let response = router.oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap();
        let status = response.status().as_u16();
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, serde_json::from_slice(&body).unwrap())
    }

    #[tokio::test]
    async fn a_number_without_a_product_is_not_found_and_what_is_no_number_is_refused() {
        assert_eq!(ask("/product/1").await, (200, json!(1)));
        for path in ["/product/2147483648", "/product/-99999999999999999999"] {
            let (status, body) = ask(path).await;
            assert_eq!((status, &body["error"]), (404, &json!("Product not found")), "{path}");
        }
        for path in
            ["/product/abc", "/product/1.5", "/product/-", "/product/%FF", "/product/1%00", "/product/+1"]
        {
            let (status, body) = ask(path).await;
            assert_eq!((status, &body["errors"][0]["field"]), (400, &json!("id")), "{path}");
        }
    }

    #[tokio::test]
    async fn an_order_id_is_a_uuid() {
        let id = Uuid::now_v7();
        assert_eq!(ask(&format!("/orders/{id}")).await, (200, json!(id)));
        for path in ["/orders/1", "/orders/%FF", "/orders/not-a-uuid"] {
            let (status, body) = ask(path).await;
            assert_eq!((status, &body["errors"][0]["field"]), (400, &json!("id")), "{path}");
        }
    }

    #[tokio::test]
    async fn pages_have_bounds() {
        assert_eq!(ask("/products").await, (200, json!([1, 20, 0])));
        assert_eq!(ask("/products?page=3&per_page=100").await, (200, json!([3, 100, 200])));
        assert_eq!(ask("/products?page=4294967295").await.0, 200);
        for (query, field) in [
            ("page=0", "page"),
            ("page=-1", "page"),
            ("page=x", "page"),
            ("page=4294967296", "page"),
            ("page=1&page=2", "page"),
            ("per_page=0", "per_page"),
            ("per_page=101", "per_page"),
            ("per_page=", "per_page"),
        ] {
            let (status, body) = ask(&format!("/products?{query}")).await;
            assert_eq!((status, &body["errors"][0]["field"]), (400, &json!(field)), "{query}");
        }
    }
}
