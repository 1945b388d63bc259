//! A customer: orders by HTTP.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::StreamExt;
use reqwest::StatusCode;
use serde_json::{Value, json};
use testkit::eventually;
use uuid::Uuid;

/// A shop answers sooner than this, whatever has become of its servers.
const ANSWER: Duration = Duration::from_secs(20);
/// Products 1..=100 of the catalogue.
const PRODUCTS: usize = 100;

#[derive(Clone)]
pub(crate) struct Shop {
    client: reqwest::Client,
    base: String,
}

/// What the shop said to one request.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    /// From the header `traceresponse`.
    pub(crate) trace_id: String,
    pub(crate) body: Value,
}

impl Answer {
    /// The id of an accepted order.
    #[track_caller]
    pub(crate) fn order_id(&self) -> Uuid {
        assert!(self.status.is_success(), "not accepted: {} {}", self.status, self.body);
        let id = self.body["order_id"].as_str().expect("an order_id");
        id.parse().expect("the order_id is a UUID")
    }
}

impl Shop {
    pub(crate) fn new(base: String) -> Self {
        let client = reqwest::Client::builder().timeout(ANSWER).build().expect("a client");
        Self { client, base }
    }

    /// A read that is asked again while the shop says that it cannot serve now.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        patiently(path, || self.client.get(format!("{}{path}", self.base))).await
    }

    /// A read that takes the first answer.
    pub(crate) async fn get_once(&self, path: &str) -> Answer {
        Self::answer(self.client.get(format!("{}{path}", self.base))).await
    }

    /// Order number `n`, which takes the first answer: two different products, spread over the catalogue.
    pub(crate) async fn order_once(&self, n: usize) -> Answer {
        Self::answer(self.request(n, items_of(n))).await
    }

    fn request(&self, customer: usize, items: Value) -> reqwest::RequestBuilder {
        self.client.post(format!("{}/api/order", self.base)).json(&json!({
            "user_id": 1 + customer,
            "email": format!("customer{customer}@example.com"),
            "phone": format!("+1555{customer:07}"),
            "items": items,
        }))
    }

    /// One order in the caller's trace.
    pub(crate) async fn order_traced(&self, items: Value, traceparent: &str) -> Answer {
        let key = Uuid::new_v4();
        patiently("an order", || {
            let request = self.request(1, items.clone()).header("traceparent", traceparent);
            request.header("Idempotency-Key", key.to_string())
        })
        .await
    }

    /// `count` orders, at most `concurrency` at a time; `placed` counts them as they are accepted. Their ids.
    ///
    /// As the README tells a client to: an order that got a 503 or no answer is sent again under its idempotency key.
    pub(crate) async fn orders(&self, count: usize, concurrency: usize, placed: &AtomicUsize) -> Vec<Uuid> {
        let orders = futures::stream::iter(0..count).map(|n| async move {
            let key = Uuid::new_v4();
            let request = || self.request(n, items_of(n)).header("Idempotency-Key", key.to_string());
            let id = patiently("an order", request).await.order_id();
            placed.fetch_add(1, Ordering::Relaxed);
            id
        });
        orders.buffer_unordered(concurrency).collect().await
    }

    /// `count` orders, four at a time; their ids.
    pub(crate) async fn accepted_orders(&self, count: usize) -> Vec<Uuid> {
        self.orders(count, 4, &AtomicUsize::new(0)).await
    }

    /// `count` orders at a shop that dies: `None` is an order whose caller never got an answer, which the shop may
    /// have taken or not. A caller waits for the shop to be back before the next order, and never repeats one.
    pub(crate) async fn orders_of_a_dying_shop(
        &self,
        count: usize,
        concurrency: usize,
        placed: &AtomicUsize,
    ) -> Vec<Option<Answer>> {
        let orders = futures::stream::iter(0..count).map(|n| async move {
            let answer = try_answer(self.request(n, items_of(n))).await;
            if answer.is_err() {
                eventually("the shop is back", async || {
                    self.client.get(format!("{}/health/live", self.base)).send().await.map(drop)
                })
                .await;
            }
            placed.fetch_add(1, Ordering::Relaxed);
            answer.ok()
        });
        orders.buffer_unordered(concurrency).collect().await
    }

    async fn answer(request: reqwest::RequestBuilder) -> Answer {
        try_answer(request).await.expect("the shop answers every request, in JSON")
    }
}

fn items_of(n: usize) -> Value {
    let (first, second) = (1 + n % PRODUCTS, 1 + (n + 1 + n / PRODUCTS % (PRODUCTS - 1)) % PRODUCTS);
    json!([{ "product_id": first, "quantity": 1 }, { "product_id": second, "quantity": 1 }])
}

async fn try_answer(request: reqwest::RequestBuilder) -> reqwest::Result<Answer> {
    let response = request.send().await?;
    let status = response.status();
    let trace = response.headers().get("traceresponse").and_then(|trace| trace.to_str().ok());
    let trace_id = trace.and_then(|trace| trace.split('-').nth(1)).unwrap_or_default().to_owned();
    Ok(Answer { status, trace_id, body: response.json().await? })
}

/// The first answer other than 503, which a service gives when one of its servers does not answer in time: also on a machine that
/// stands still for seconds.
pub(crate) async fn patiently(what: &str, request: impl Fn() -> reqwest::RequestBuilder) -> Answer {
    eventually(what, async || match try_answer(request()).await {
        Ok(answer) if answer.status == StatusCode::SERVICE_UNAVAILABLE => Err(answer.body.to_string()),
        Ok(answer) => Ok(answer),
        Err(error) => Err(format!("{error:?}")),
    })
    .await
}
