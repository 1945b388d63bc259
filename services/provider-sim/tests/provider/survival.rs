//! The real process, killed.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use lettre::AsyncTransport;
use serde_json::{Value, json};

use crate::sim::{mail, mailer, put_settings};

/// The built binary on two free ports.
struct Process {
    child: Child,
    http: SocketAddr,
    smtp: SocketAddr,
}

impl Process {
    async fn start(journal: &Path) -> Self {
        let (http, smtp) = (free_address().await, free_address().await);
        let child = Command::new(env!("CARGO_BIN_EXE_provider-sim"))
            .env("PROVIDER_SIM_ADDR", http.to_string())
            .env("PROVIDER_SIM_SMTP_ADDR", smtp.to_string())
            .env("PROVIDER_SIM_JOURNAL", journal)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let process = Self { child, http, smtp };
        let ready = process.url("/health/ready");
        testkit::eventually("provider-sim is ready", async || reqwest::get(&ready).await?.error_for_status())
            .await;
        process
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.http)
    }

    /// SIGKILL: no handler of the process runs.
    fn kill9(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// A failed test leaves no process behind.
impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn free_address() -> SocketAddr {
    tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

async fn json(url: String) -> Value {
    reqwest::get(url).await.unwrap().json().await.unwrap()
}

async fn text(process: &Process, key: &str) -> reqwest::Result<reqwest::Response> {
    let body = json!({"to": "+1234567890", "text": "We received your order", "order_id": "order-1"});
    reqwest::Client::new()
        .post(process.url("/sms"))
        .header("Idempotency-Key", key)
        .json(&body)
        .send()
        .await?
        .error_for_status()
}

#[tokio::test]
async fn a_kill_9_forgets_no_delivery_no_repeat_and_no_refusal() {
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("data/journal.jsonl");
    let process = Process::start(&journal).await;
    let calm = json!({"latency_ms": 0, "failure_rate": 0});
    put_settings(&process.url("/api/settings"), json!({"email": calm, "sms": calm})).await;

    let mailbox = mailer(process.smtp);
    for _ in 0..2 {
        mailbox.send(mail(Some("event-1"), "order-1", "Thank you")).await.unwrap();
    }
    text(&process, "event-1").await.unwrap();
    put_settings(&process.url("/api/settings"), json!({"sms": {"lost_answer_rate": 1}})).await;
    text(&process, "event-2").await.unwrap_err();
    put_settings(&process.url("/api/settings"), json!({"sms": {"failure_rate": 1}})).await;
    text(&process, "event-3").await.unwrap_err();
    let before = json(process.url("/api/deliveries")).await;
    process.kill9();

    let process = Process::start(&journal).await;
    assert_eq!(json(process.url("/api/deliveries")).await, before);
    assert_eq!(
        json(process.url("/api/deliveries/order-1")).await,
        json!({
            "order_id": "order-1",
            "email": {"distinct": 1, "repeated": 1},
            "sms": {"distinct": 2, "repeated": 0},
        })
    );

    // The keys are remembered too, with what they were used for.
    mailer(process.smtp).send(mail(Some("event-1"), "order-1", "Thank you")).await.unwrap();
    text(&process, "event-2").await.unwrap();
    let counts = json(process.url("/api/deliveries/order-1")).await;
    assert_eq!(counts["email"], json!({"distinct": 1, "repeated": 2}));
    assert_eq!(counts["sms"], json!({"distinct": 2, "repeated": 1}));
    process.kill9();
}

#[tokio::test]
async fn the_journal_holds_no_address_no_number_and_no_text() {
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("journal.jsonl");
    let process = Process::start(&journal).await;
    let calm = json!({"latency_ms": 0, "failure_rate": 0});
    put_settings(&process.url("/api/settings"), json!({"email": calm, "sms": calm})).await;
    mailer(process.smtp).send(mail(Some("event-1"), "order-1", "Thank you")).await.unwrap();
    text(&process, "event-1").await.unwrap();
    let journal = std::fs::read_to_string(&journal).unwrap();
    assert_eq!(journal.lines().count(), 2);
    for secret in ["ann@example.com", "1234567890", "Thank you", "We received"] {
        assert!(!journal.contains(secret), "{journal}");
    }
}
