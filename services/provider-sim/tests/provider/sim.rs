//! A stand-in on free ports with a journal of its own.

use std::net::{Ipv4Addr, SocketAddr};

use lettre::message::header::{Header, HeaderName, HeaderValue};
use lettre::{AsyncSmtpTransport, Message, Tokio1Executor};
use provider_sim::smtp::Limits;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

pub(crate) type Mailer = AsyncSmtpTransport<Tokio1Executor>;

pub(crate) struct Sim {
    pub(crate) http: SocketAddr,
    pub(crate) smtp: SocketAddr,
    _journal: TempDir,
    _stop: DropGuard,
}

impl Sim {
    /// Neither latency nor failures, so that a test says what it wants.
    pub(crate) async fn calm() -> Self {
        let sim = Self::with(Limits::default()).await;
        let calm = json!({"latency_ms": 0, "failure_rate": 0, "lost_answer_rate": 0});
        sim.set(json!({"email": calm, "sms": calm})).await;
        sim
    }

    pub(crate) async fn with(limits: Limits) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let journal = folder.path().join("journal.jsonl");
        let (http, smtp) = (listener().await, listener().await);
        let (http_addr, smtp_addr) = (http.local_addr().unwrap(), smtp.local_addr().unwrap());
        let shutdown = CancellationToken::new();
        let stop = shutdown.clone().drop_guard();
        tokio::spawn(
            async move { provider_sim::serve(&journal, http, smtp, limits, shutdown).await.unwrap() },
        );
        Self { http: http_addr, smtp: smtp_addr, _journal: folder, _stop: stop }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.http)
    }

    pub(crate) async fn set(&self, settings: Value) {
        put_settings(&self.url("/api/settings"), settings).await;
    }

    pub(crate) async fn json(&self, path: &str) -> Value {
        reqwest::get(self.url(path)).await.unwrap().json().await.unwrap()
    }

    /// Distinct and repeated deliveries of an order on one channel.
    pub(crate) async fn deliveries(&self, channel: &str, order_id: &str) -> (u64, u64) {
        let counts = &self.json(&format!("/api/deliveries/{order_id}")).await[channel];
        (counts["distinct"].as_u64().unwrap(), counts["repeated"].as_u64().unwrap())
    }

    pub(crate) fn mailer(&self) -> Mailer {
        mailer(self.smtp)
    }
}

async fn listener() -> TcpListener {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap()
}

pub(crate) fn mailer(smtp: SocketAddr) -> Mailer {
    Mailer::from_url(&format!("smtp://{smtp}")).unwrap().build()
}

pub(crate) async fn put_settings(url: &str, settings: Value) {
    let response = reqwest::Client::new().put(url).json(&settings).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK, "{}", response.text().await.unwrap());
}

#[derive(Clone)]
struct OrderId(String);

impl Header for OrderId {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("X-Order-Id")
    }

    fn parse(text: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self(text.to_owned()))
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), self.0.clone())
    }
}

/// A mail about an order; without `key` it has no Message-ID.
pub(crate) fn mail(key: Option<&str>, order_id: &str, text: &str) -> Message {
    let builder = Message::builder()
        .from("shop@example.com".parse().unwrap())
        .to("Ann <ann@example.com>".parse().unwrap())
        .subject("We received your order")
        .header(OrderId(order_id.to_owned()));
    let builder = match key {
        Some(key) => builder.message_id(Some(format!("<{key}@orderflow>"))),
        None => builder,
    };
    builder.body(text.to_owned()).unwrap()
}
