//! What the clients of a load test ask, and what they make of the answers.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{HeaderName, HeaderValue};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::http::{Connection, Failure, Response};
use super::order::{Orders, PRODUCTS};

/// Different orders: enough that they are not all alike, few enough to be written down before the load begins.
const ORDERS: usize = 1_000;
/// Its key.
const KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// What a request is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// `GET /api/product/{id}`
    Products,
    /// `POST /api/order`
    Orders,
}

/// How many product reads come on how many orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Mix {
    /// Product reads.
    pub products: u32,
    /// Orders.
    pub orders: u32,
}

/// Everything that may be asked, written down before the load begins.
#[derive(Clone, Debug)]
pub struct Script {
    mix: Mix,
    paths: Vec<Arc<str>>,
    bodies: Vec<Bytes>,
}

/// Who draws what is asked next. What it draws follows from its seed, but for the keys of the orders, which are new in every run.
#[derive(Debug)]
pub struct Dice {
    random: StdRng,
    keys: StdRng,
}

/// One request.
#[derive(Clone, Debug)]
pub enum Ask {
    /// Read the product at this path.
    Product(Arc<str>),
    /// Order this, under this key.
    Order(Bytes, HeaderValue),
}

/// What came of a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// A product.
    Product {
        /// It came from the cache.
        from_cache: bool,
    },
    /// The order stands.
    Accepted {
        /// Its id.
        order_id: Uuid,
        /// A step after it failed, as the answer says: the baseline makes the caller wait for all steps.
        step_failed: bool,
    },
    /// An answer that says no.
    Refused {
        /// Its status.
        status: u16,
        /// What it says beside its status.
        refusal: Refusal,
        /// The server's side failed, and did not say that the order was not taken.
        may_stand: bool,
    },
    /// No answer. If it was an order, it may stand.
    Unanswered(Failure),
}

/// Why an answer says no. All of a 503 ask to come again, so that the header which says when tells none from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// 503: as many orders are under way as may be.
    Overloaded,
    /// 503: the order was sent to the database, and the answer says under which id to look for it.
    OutcomeUnknown,
    /// 503: something that it cannot do without is away.
    Unavailable,
    /// Any other status.
    Other,
}

/// An outcome, and how long it took by the server's own clock, if its answer says so.
#[derive(Clone, Debug)]
pub struct Answer {
    /// What came of it.
    pub outcome: Outcome,
    /// `response_time_ms`.
    pub server: Option<Duration>,
}

/// What matters of the answers of both paths.
#[derive(Debug, Deserialize)]
struct Body {
    #[serde(default)]
    success: bool,
    order_id: Option<Uuid>,
    #[serde(default)]
    from_cache: bool,
    response_time_ms: Option<f64>,
    /// Of a problem.
    error: Option<String>,
    /// Of a problem: there is no room for the order.
    #[serde(default)]
    overloaded: bool,
}

impl Script {
    /// What is asked in this mix, with the orders of `seed`.
    pub fn new(mix: Mix, seed: u64) -> Self {
        Self {
            mix,
            paths: (1..=PRODUCTS).map(|id| format!("/api/product/{id}").into()).collect(),
            bodies: Orders::new(seed).take(ORDERS).map(|order| Bytes::from(order.body.to_string())).collect(),
        }
    }

    /// The next request.
    pub fn next(&self, dice: &mut Dice) -> Ask {
        let Mix { products, orders } = self.mix;
        let Dice { random, keys } = dice;
        let draw = random.random_range(0..(products + orders).max(1));
        let place = |all: usize, random: &mut StdRng| random.random_range(0..all.max(1));
        if draw < orders {
            let body = self.bodies.get(place(self.bodies.len(), random)).cloned().unwrap_or_default();
            let key = uuid::Builder::from_random_bytes(keys.random()).into_uuid().to_string();
            // Hexadecimal digits and dashes are a header's value.
            Ask::Order(body, HeaderValue::from_str(&key).unwrap_or(HeaderValue::from_static("")))
        } else {
            let path = self.paths.get(place(self.paths.len(), random)).cloned();
            Ask::Product(path.unwrap_or_else(|| "/".into()))
        }
    }
}

impl Dice {
    /// Those of `seed`.
    pub fn new(seed: u64) -> Self {
        Self { random: StdRng::seed_from_u64(seed), keys: StdRng::from_rng(&mut rand::rng()) }
    }

    /// A time between two, both included.
    pub fn between(&mut self, least: Duration, most: Duration) -> Duration {
        self.random.random_range(least..=most)
    }
}

impl Ask {
    /// What it is about.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Product(_) => Kind::Products,
            Self::Order(..) => Kind::Orders,
        }
    }

    /// Asks once. Nothing is repeated: a repeat would hide what the first request met.
    pub async fn send(self, connection: &mut Connection) -> Answer {
        let answered = match self {
            Self::Product(path) => connection.get(&path).await,
            Self::Order(body, key) => connection.post_json("/api/order", &[(KEY, key)], body).await,
        };
        match answered {
            Ok(response) => Answer::read(&response),
            Err(failure) => Answer { outcome: Outcome::Unanswered(failure), server: None },
        }
    }
}

impl Answer {
    /// What a response says.
    pub fn read(response: &Response) -> Self {
        let body: Option<Body> = serde_json::from_slice(&response.body).ok();
        let server = body.as_ref().and_then(|body| body.response_time_ms);
        let server = server.and_then(|millis| Duration::try_from_secs_f64(millis / 1e3).ok());
        let status = response.status;
        let outcome = match body {
            Some(Body { order_id: Some(order_id), success, .. }) if status.is_success() => {
                Outcome::Accepted { order_id, step_failed: !success }
            }
            Some(Body { success: true, from_cache, .. }) if status.is_success() => {
                Outcome::Product { from_cache }
            }
            body => {
                // Only what sums the answer up: what else it says may be how to find out whether an order was not taken.
                let error = body.as_ref().and_then(|body| body.error.as_deref()).unwrap_or_default();
                Outcome::Refused {
                    status: status.as_u16(),
                    refusal: Refusal::of(status, body.as_ref()),
                    may_stand: status.is_success()
                        || (status.is_server_error() && !error.contains("not taken")),
                }
            }
        };
        Self { outcome, server }
    }
}

impl Refusal {
    fn of(status: StatusCode, body: Option<&Body>) -> Self {
        match (status, body) {
            (StatusCode::SERVICE_UNAVAILABLE, Some(Body { order_id: Some(_), .. })) => Self::OutcomeUnknown,
            (StatusCode::SERVICE_UNAVAILABLE, Some(Body { overloaded: true, .. })) => Self::Overloaded,
            (StatusCode::SERVICE_UNAVAILABLE, _) => Self::Unavailable,
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use hyper::HeaderMap;

    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        let status = StatusCode::from_u16(status).unwrap();
        Answer::read(&Response { status, headers: HeaderMap::new(), body: Bytes::from(body.to_owned()) })
    }

    #[test]
    fn of_four_requests_one_is_an_order_and_products_are_all_asked_for() {
        let script = Script::new(Mix { products: 3, orders: 1 }, 7);
        let mut dice = Dice::new(7);
        let (mut orders, mut paths, mut keys) = (0, std::collections::HashSet::new(), Vec::new());
        for _ in 0..40_000 {
            match script.next(&mut dice) {
                Ask::Product(path) => {
                    paths.insert(path);
                }
                Ask::Order(_, key) => {
                    orders += 1;
                    keys.push(key);
                }
            }
        }
        assert!((9_600..10_400).contains(&orders), "{orders}");
        assert_eq!(paths.len(), 100);
        let different: std::collections::HashSet<_> = keys.iter().map(HeaderValue::as_bytes).collect();
        assert_eq!(different.len(), keys.len());
    }

    #[test]
    fn a_seed_names_what_is_asked_and_in_which_order() {
        let script = Script::new(Mix { products: 3, orders: 1 }, 7);
        let asked = |seed| {
            let mut dice = Dice::new(seed);
            (0..50)
                .map(|_| match script.next(&mut dice) {
                    Ask::Product(path) => path.to_string(),
                    Ask::Order(body, _key) => String::from_utf8_lossy(&body).into_owned(),
                })
                .collect::<Vec<_>>()
        };
        assert_eq!(asked(1), asked(1));
        assert_ne!(asked(1), asked(2));
    }

    #[test]
    fn only_products_or_only_orders_are_a_mix_too() {
        let kinds = |products, orders| {
            let (script, mut dice) = (Script::new(Mix { products, orders }, 1), Dice::new(1));
            (0..100).map(|_| script.next(&mut dice).kind()).collect::<Vec<_>>()
        };
        assert!(kinds(1, 0).iter().all(|kind| *kind == Kind::Products));
        assert!(kinds(0, 1).iter().all(|kind| *kind == Kind::Orders));
    }

    #[test]
    fn an_answer_says_whether_it_came_from_the_cache_and_how_long_the_server_took() {
        let body = r#"{"success":true,"data":{"id":1},"from_cache":true,"response_time_ms":0.42}"#;
        let Answer { outcome, server } = answer(200, body);
        assert_eq!(outcome, Outcome::Product { from_cache: true });
        assert_eq!(server, Some(Duration::from_micros(420)));
    }

    #[test]
    fn an_order_whose_later_step_failed_stands_and_says_so() {
        let id = Uuid::new_v4();
        let body = |success| format!(r#"{{"success":{success},"order_id":"{id}","response_time_ms":700.0}}"#);
        let accepted = |step_failed| Outcome::Accepted { order_id: id, step_failed };
        assert_eq!(answer(201, &body(true)).outcome, accepted(false));
        assert_eq!(answer(201, &body(false)).outcome, accepted(true));
    }

    #[test]
    fn a_refusal_is_told_from_what_may_stand() {
        let refused = |status, refusal, may_stand| Outcome::Refused { status, refusal, may_stand };
        assert_eq!(answer(500, "").outcome, refused(500, Refusal::Other, true));
        assert_eq!(answer(404, r#"{"success":false}"#).outcome, refused(404, Refusal::Other, false));
        assert_eq!(answer(200, "what?").outcome, refused(200, Refusal::Other, true));
        // Not of the shop, but of something between.
        assert_eq!(answer(503, "busy").outcome, refused(503, Refusal::Unavailable, true));
    }

    #[test]
    fn no_room_for_an_order_a_database_that_is_away_and_an_order_that_may_stand_are_told_apart() {
        use storefront::refusals;

        // As the shop says it: all of them with `Retry-After`.
        let outcome =
            |problem: service_runtime::Problem| answer(503, &problem.body(None).to_string()).outcome;
        let refused = |refusal, may_stand| Outcome::Refused { status: 503, refusal, may_stand };
        assert_eq!(outcome(refusals::too_many_orders()), refused(Refusal::Overloaded, false));
        assert_eq!(outcome(refusals::order_not_taken()), refused(Refusal::Unavailable, false));
        assert_eq!(outcome(refusals::cannot_read()), refused(Refusal::Unavailable, true));
        let unknown = refusals::order_outcome_unknown(Uuid::new_v4());
        assert_eq!(outcome(unknown.clone()), refused(Refusal::OutcomeUnknown, true));
        assert_eq!(outcome(refusals::repeat_under_the_key(unknown)), refused(Refusal::OutcomeUnknown, true));
    }
}
