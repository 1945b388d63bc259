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

    pub(crate) async fn get(&self, path: &str) -> Answer {
        Self::answer(self.client.get(format!("{}{path}", self.base))).await
    }

    /// Order number `n`: two different products, spread over the catalogue.
    pub(crate) async fn order(&self, n: usize) -> Answer {
        Self::answer(self.order_request(n)).await
    }

    fn order_request(&self, n: usize) -> reqwest::RequestBuilder {
        let (first, second) = (1 + n % PRODUCTS, 1 + (n + 1 + n / PRODUCTS % (PRODUCTS - 1)) % PRODUCTS);
        let items = json!([{ "product_id": first, "quantity": 1 }, { "product_id": second, "quantity": 1 }]);
        self.request(n, items)
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
        Self::answer(self.request(1, items).header("traceparent", traceparent)).await
    }

    /// `count` orders, at most `concurrency` at a time; `placed` counts the answers as they come.
    pub(crate) async fn orders(&self, count: usize, concurrency: usize, placed: &AtomicUsize) -> Vec<Answer> {
        let orders = futures::stream::iter(0..count).map(|n| async move {
            let answer = self.order(n).await;
            placed.fetch_add(1, Ordering::Relaxed);
            answer
        });
        orders.buffer_unordered(concurrency).collect().await
    }

    /// `count` orders that all have to be accepted; their ids.
    pub(crate) async fn accepted_orders(&self, count: usize) -> Vec<Uuid> {
        let answers = self.orders(count, 4, &AtomicUsize::new(0)).await;
        answers.iter().map(Answer::order_id).collect()
    }

    /// As [`Shop::orders`], of a shop that dies: `None` is an order whose caller never got an answer, which the shop may
    /// have taken or not. A caller waits for the shop to be back before the next order, and never repeats one.
    pub(crate) async fn orders_of_a_dying_shop(
        &self,
        count: usize,
        concurrency: usize,
        placed: &AtomicUsize,
    ) -> Vec<Option<Answer>> {
        let orders = futures::stream::iter(0..count).map(|n| async move {
            let answer = Self::try_answer(self.order_request(n)).await;
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
        Self::try_answer(request).await.expect("the shop answers every request, in JSON")
    }

    async fn try_answer(request: reqwest::RequestBuilder) -> reqwest::Result<Answer> {
        let response = request.send().await?;
        Ok(Answer { status: response.status(), body: response.json().await? })
    }
}
