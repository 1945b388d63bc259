use std::net::SocketAddr;
use std::time::Instant;

use axum::routing::{get, post};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use telemetry::metrics::Metrics;

use super::*;
use crate::http::{Json, Limits, harden};

const LIMITS: ServeLimits = ServeLimits {
    connections: 4,
    head_time: Duration::from_millis(300),
    head_bytes: 16 * 1024,
    drain_time: Duration::from_millis(500),
};
/// No step of these tests takes longer unless the server hangs.
const DEADLINE: Duration = Duration::from_secs(10);

struct Server {
    addr: SocketAddr,
    shutdown: CancellationToken,
    /// Told when a request to `/slow` is being handled.
    handling: Arc<Notify>,
    /// Lets a request to `/slow` end.
    release: Arc<Notify>,
    running: JoinHandle<anyhow::Result<()>>,
}

async fn server() -> Server {
    let (handling, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (started, wait) = (handling.clone(), release.clone());
    let slow = async move || {
        started.notify_one();
        wait.notified().await;
        "slow"
    };
    let router = Router::new()
        .route("/", get(async || "hello"))
        .route("/slow", get(slow))
        .route("/order", post(async |Json(_): Json<serde_json::Value>| "taken"));
    let router = harden(
        router,
        Limits { body_time: Duration::from_millis(300), ..Limits::default() },
        &Metrics::new(),
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(serve_with(listener, router, shutdown.clone(), LIMITS));
    Server { addr, shutdown, handling, release, running }
}

impl Server {
    async fn connect(&self, request: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.addr).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        stream
    }

    /// Sends and reads until the server closes.
    async fn exchange(&self, request: &str) -> String {
        to_end(self.connect(request).await).await
    }
}

async fn to_end(mut stream: TcpStream) -> String {
    let mut answer = Vec::new();
    // A reset counts as closed: it is what a sender gets whose words were not wanted any more.
    let _ = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut answer)).await.expect("the server closes");
    String::from_utf8_lossy(&answer).into_owned()
}

const CLOSE: &str = "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";

#[tokio::test]
async fn half_a_request_head_gets_the_connection_closed_and_others_notice_nothing() {
    let server = server().await;
    let waiting = server.connect("GET / HTTP/1.1\r\nhost: a\r\nx-hal").await;
    assert!(server.exchange(CLOSE).await.ends_with("hello"));
    let started = Instant::now();
    to_end(waiting).await;
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn half_a_request_body_is_answered_408_and_closed() {
    let server = server().await;
    let head = "POST /order HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{\"user";
    let waiting = server.connect(head).await;
    assert!(server.exchange(CLOSE).await.ends_with("hello"));
    let answer = to_end(waiting).await;
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("\"success\":false"), "{answer}");
}

#[tokio::test]
async fn waiting_senders_hold_up_no_more_than_their_own_connection() {
    let server = server().await;
    let mut waiting = Vec::new();
    for _ in 0..LIMITS.connections * 3 {
        waiting.push(server.connect("GET / HTTP/1.1\r\n").await);
    }
    // All places are taken; they come free one after another, and the caller's turn comes.
    assert!(server.exchange(CLOSE).await.ends_with("hello"));
}

#[tokio::test]
async fn what_is_no_http_is_refused_and_the_server_goes_on() {
    let server = server().await;
    for nonsense in ["\u{16}\u{3}\u{1}\u{2}\r\n\r\n", "GET\r\n\r\n", "GET / HTTP/9.9\r\n\r\n"] {
        server.exchange(nonsense).await;
    }
    let long = format!("GET / HTTP/1.1\r\nhost: a\r\nx-long: {}\r\n\r\n", "x".repeat(100_000));
    assert!(!server.exchange(&long).await.contains(" 200 "));
    assert!(server.exchange(CLOSE).await.ends_with("hello"));
}

#[tokio::test]
async fn a_stop_lets_the_request_in_flight_end_and_closes_idle_connections() {
    let server = server().await;
    let idle = server.connect("").await;
    let in_flight = server.connect("GET /slow HTTP/1.1\r\nhost: a\r\n\r\n").await;
    server.handling.notified().await;
    server.shutdown.cancel();
    server.release.notify_one();
    assert!(to_end(in_flight).await.ends_with("slow"));
    to_end(idle).await;
    tokio::time::timeout(DEADLINE, server.running).await.expect("ends").unwrap().unwrap();
    assert!(TcpStream::connect(server.addr).await.is_err());
}

#[tokio::test]
async fn a_stop_does_not_wait_for_ever() {
    let server = server().await;
    let in_flight = server.connect("GET /slow HTTP/1.1\r\nhost: a\r\n\r\n").await;
    server.handling.notified().await;
    server.shutdown.cancel();
    tokio::time::timeout(DEADLINE, server.running).await.expect("ends").unwrap().unwrap();
    to_end(in_flight).await;
}
