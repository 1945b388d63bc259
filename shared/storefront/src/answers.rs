//! The bodies of all 2xx answers.

use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use contracts::Money;
use serde::{Deserialize, Serialize};
use service_runtime::http::Json;
use uuid::Uuid;

const IDEMPOTENT_REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// A product of the catalogue.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Product {
    /// Its number.
    pub id: i32,
    /// Its name.
    pub name: String,
    /// What one costs.
    pub price: Money,
    /// What it is.
    pub description: String,
}

/// `GET /api/product/{id}`.
#[derive(Debug, Serialize)]
pub struct ProductAnswer<P> {
    success: bool,
    data: P,
    from_cache: bool,
    response_time_ms: f64,
}

impl<P: Serialize> ProductAnswer<P> {
    /// A product, read from a cache or not.
    pub fn new(product: P, from_cache: bool, response_time_ms: f64) -> Self {
        Self { success: true, data: product, from_cache, response_time_ms }
    }
}

/// `GET /api/products`.
#[derive(Debug, Serialize)]
pub struct CataloguePage {
    success: bool,
    data: Vec<Product>,
    page: u32,
    per_page: u32,
    total: i64,
    pages: i64,
    response_time_ms: f64,
}

impl CataloguePage {
    /// One page out of a catalogue of `total` products.
    pub fn new(page: crate::Page, products: Vec<Product>, total: i64, response_time_ms: f64) -> Self {
        let per_page = i64::from(page.per_page());
        Self {
            success: true,
            data: products,
            page: page.number(),
            per_page: page.per_page(),
            total,
            pages: (total + per_page - 1) / per_page,
            response_time_ms,
        }
    }
}

/// `POST /api/order`: the order stands.
#[derive(Debug, Serialize)]
pub struct OrderAccepted {
    success: bool,
    order_id: Uuid,
    status: &'static str,
    total: Money,
    response_time_ms: f64,
    message: &'static str,
    /// Only the baseline has these: steps of its that failed although the order stands.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<StepFailure>,
    /// Shows in a header.
    #[serde(skip)]
    replayed: bool,
}

/// A step after the order itself that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StepFailure {
    /// Which one: `email`, `sms`, `inventory` or `analytics`.
    pub step: &'static str,
    /// What went wrong, without a cause of ours.
    pub detail: String,
}

impl OrderAccepted {
    /// An order that is durable; what follows from it happens on its own.
    pub fn new(order_id: Uuid, total: Money, response_time_ms: f64, message: &'static str) -> Self {
        Self {
            success: true,
            order_id,
            status: "pending",
            total,
            response_time_ms,
            message,
            errors: Vec::new(),
            replayed: false,
        }
    }

    /// The order was taken by an earlier request under the same `Idempotency-Key`: the answer says so in the header
    /// `Idempotent-Replayed: true`, and is the first answer in all but its time.
    #[must_use]
    pub fn replayed(mut self) -> Self {
        self.replayed = true;
        self
    }

    /// The order stands, but steps failed: the answer says `success: false` and which.
    #[must_use]
    pub fn with_failures(mut self, failures: Vec<StepFailure>) -> Self {
        self.success = failures.is_empty();
        self.errors = failures;
        self
    }
}

impl IntoResponse for OrderAccepted {
    fn into_response(self) -> Response {
        let location: [(HeaderName, String); 1] =
            [(header::LOCATION, format!("/api/orders/{}", self.order_id))];
        let replayed = self.replayed.then_some([(IDEMPOTENT_REPLAYED, "true")]);
        (StatusCode::CREATED, location, replayed, Json(self)).into_response()
    }
}

/// An order as its caller may see it. Anybody who has the id may ask, so there is no contact in it.
#[derive(Debug, Serialize)]
pub struct OrderView {
    /// The order.
    pub order_id: Uuid,
    /// Who ordered.
    pub user_id: i64,
    /// How far it is.
    pub status: String,
    /// What was ordered.
    pub items: Vec<OrderViewLine>,
    /// Sum over all lines.
    pub total: Money,
    /// Trace that the order was created under: 32 hex digits.
    pub trace_id: Option<String>,
    /// When it was accepted.
    pub created_at: DateTime<Utc>,
}

/// One line of an [`OrderView`].
#[derive(Debug, Serialize)]
pub struct OrderViewLine {
    /// The product.
    pub product_id: i32,
    /// How many.
    pub quantity: i32,
    /// Price of one at the time of the order.
    pub price: Money,
}

/// `GET /api/orders/{id}`.
#[derive(Debug, Serialize)]
pub struct OrderAnswer {
    success: bool,
    data: OrderView,
    response_time_ms: f64,
}

impl OrderAnswer {
    /// An order that was found.
    pub fn new(order: OrderView, response_time_ms: f64) -> Self {
        Self { success: true, data: order, response_time_ms }
    }
}

/// `GET /api/cache/stats`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct CacheStats {
    hits: u64,
    misses: u64,
    total: u64,
    /// Percent, two decimals.
    hit_rate: f64,
}

impl CacheStats {
    /// Counts of reads that the cache did and did not answer.
    pub fn new(hits: u64, misses: u64) -> Self {
        let total = hits.saturating_add(misses);
        let hit_rate = if total == 0 { 0.0 } else { (hits as f64 / total as f64 * 10_000.0).round() / 100.0 };
        Self { hits, misses, total, hit_rate }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_documented_product_answer_is_given_to_the_letter() {
        let product = Product {
            id: 1,
            name: "Product 1".to_owned(),
            price: Money::from_cents(2999).unwrap(),
            description: "...".to_owned(),
        };
        assert_eq!(
            serde_json::to_value(ProductAnswer::new(&product, false, 0.42)).unwrap(),
            json!({
                "success": true, "data": { "id": 1, "name": "Product 1", "price": 29.99, "description": "..." },
                "from_cache": false, "response_time_ms": 0.42,
            })
        );
    }

    #[test]
    fn an_accepted_order_is_answered_with_its_place() {
        let id = Uuid::now_v7();
        let accepted = OrderAccepted::new(id, Money::from_cents(5998).unwrap(), 1.5, "Order created");
        assert_eq!(
            serde_json::to_value(&accepted).unwrap(),
            json!({
                "success": true, "order_id": id, "status": "pending", "total": 59.98, "response_time_ms": 1.5,
                "message": "Order created",
            })
        );
        let response = accepted.into_response();
        assert_eq!(response.status(), StatusCode::CREATED);
        assert_eq!(response.headers()[header::LOCATION], format!("/api/orders/{id}"));
        assert!(!response.headers().contains_key(IDEMPOTENT_REPLAYED));
    }

    #[test]
    fn a_repeated_answer_differs_from_the_first_in_a_header_only() {
        let accepted = || OrderAccepted::new(Uuid::nil(), Money::ZERO, 0.1, "x");
        assert_eq!(
            serde_json::to_value(accepted()).unwrap(),
            serde_json::to_value(accepted().replayed()).unwrap()
        );
        let response = accepted().replayed().into_response();
        assert_eq!(response.status(), StatusCode::CREATED);
        assert_eq!(response.headers()[IDEMPOTENT_REPLAYED], "true");
    }

    #[test]
    fn failed_steps_show_and_do_not_take_the_order_back() {
        let failure = StepFailure { step: "email", detail: "refused".to_owned() };
        let accepted = OrderAccepted::new(Uuid::nil(), Money::ZERO, 0.1, "x").with_failures(vec![failure]);
        let body = serde_json::to_value(&accepted).unwrap();
        assert_eq!((&body["success"], &body["errors"][0]["step"]), (&json!(false), &json!("email")));
        assert_eq!(accepted.into_response().status(), StatusCode::CREATED);
    }

    #[test]
    fn the_hit_rate_is_a_percentage_with_two_decimals() {
        assert_eq!(CacheStats::new(2, 1).hit_rate, 66.67);
        assert_eq!(CacheStats::new(0, 0), CacheStats { hits: 0, misses: 0, total: 0, hit_rate: 0.0 });
    }
}
