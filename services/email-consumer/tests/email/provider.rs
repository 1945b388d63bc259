//! The stand-in for the e-mail company, in this process.

use std::net::{Ipv4Addr, SocketAddr};

use email_consumer::{Mailer, SmtpServer};
use provider_sim::smtp::Limits;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::PATIENCE;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

pub(crate) struct Provider {
    http: SocketAddr,
    smtp: SocketAddr,
    _journal: TempDir,
    _stop: DropGuard,
}

impl Provider {
    /// Quick and without failures, so that a test says what it wants.
    pub(crate) async fn calm() -> Self {
        Self::with(Limits::default()).await
    }

    pub(crate) async fn with(limits: Limits) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let journal = folder.path().join("journal.jsonl");
        let http = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let smtp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let shutdown = CancellationToken::new();
        let provider = Self {
            http: http.local_addr().unwrap(),
            smtp: smtp.local_addr().unwrap(),
            _journal: folder,
            _stop: shutdown.clone().drop_guard(),
        };
        tokio::spawn(
            async move { provider_sim::serve(&journal, http, smtp, limits, shutdown).await.unwrap() },
        );
        provider.set(json!({"latency_ms": 0, "failure_rate": 0, "lost_answer_rate": 0})).await;
        provider
    }

    pub(crate) async fn set(&self, email: Value) {
        let url = format!("http://{}/api/settings", self.http);
        let change = json!({ "email": email });
        let response = reqwest::Client::new().put(url).json(&change).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
    }

    /// Distinct and repeated mails about an order.
    pub(crate) async fn deliveries(&self, order_id: Uuid) -> (u64, u64) {
        let counts = self.json(&format!("/api/deliveries/{order_id}")).await;
        (counts["email"]["distinct"].as_u64().unwrap(), counts["email"]["repeated"].as_u64().unwrap())
    }

    /// How many it is working on.
    pub(crate) async fn in_progress(&self) -> u64 {
        self.json("/api/deliveries").await["email"]["in_progress"].as_u64().unwrap()
    }

    pub(crate) async fn refused(&self) -> u64 {
        self.json("/api/deliveries").await["email"]["refused"].as_u64().unwrap()
    }

    async fn json(&self, path: &str) -> Value {
        reqwest::get(format!("http://{}{path}", self.http)).await.unwrap().json().await.unwrap()
    }

    pub(crate) fn server(&self) -> SmtpServer {
        server(self.smtp)
    }

    pub(crate) fn mailer(&self) -> Mailer {
        Mailer::new(self.server(), PATIENCE)
    }
}

pub(crate) fn server(address: SocketAddr) -> SmtpServer {
    format!("smtp://{address}").parse().unwrap()
}
