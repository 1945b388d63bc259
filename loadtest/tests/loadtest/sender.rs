//! The client of an order, against a shop that answers as each test wants.

use std::collections::HashMap;
use std::future::pending;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use loadtest::load::{Fate, Orders, Pace, Sent, Shop, send};
use testkit::{PATIENCE, eventually};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// How the shop answers the request with this number under its key.
type Script = fn(usize) -> Reply;

#[derive(Clone, Copy)]
enum Reply {
    Accept,
    Replay,
    Status(u16),
    Garbage,
    /// Never.
    Silence,
    /// An accepted order, once the gate is open.
    AtTheGate,
}

const ORDER: &str = r#"{"order_id":"018f0000-0000-7000-8000-000000000001"}"#;

/// What the shop has seen, and the gate before its slow answers.
#[derive(Clone, Default)]
struct Door {
    requests: Arc<Mutex<HashMap<String, usize>>>,
    under_way: Arc<AtomicUsize>,
    most_under_way: Arc<AtomicUsize>,
    gate: CancellationToken,
}

impl Door {
    /// How often the key of this request has come.
    fn next(&self, headers: &HeaderMap) -> usize {
        let key = headers["idempotency-key"].to_str().unwrap().to_owned();
        let mut requests = self.requests.lock().unwrap();
        let count = requests.entry(key).or_default();
        *count += 1;
        *count
    }

    /// Requests under each key.
    fn requests(&self) -> Vec<usize> {
        self.requests.lock().unwrap().values().copied().collect()
    }

    async fn answer(
        self,
        script: Script,
        headers: HeaderMap,
    ) -> (StatusCode, [(&'static str, &'static str); 1], &'static str) {
        const NOTHING: [(&str, &str); 1] = [("x-nothing", "")];
        match script(self.next(&headers)) {
            Reply::Accept => (StatusCode::CREATED, NOTHING, ORDER),
            Reply::Replay => (StatusCode::CREATED, [("idempotent-replayed", "true")], ORDER),
            Reply::Status(status) => (StatusCode::from_u16(status).unwrap(), NOTHING, "{}"),
            Reply::Garbage => (StatusCode::CREATED, NOTHING, "<html>"),
            Reply::Silence => pending().await,
            Reply::AtTheGate => {
                let under_way = self.under_way.fetch_add(1, Ordering::SeqCst) + 1;
                self.most_under_way.fetch_max(under_way, Ordering::SeqCst);
                self.gate.cancelled().await;
                self.under_way.fetch_sub(1, Ordering::SeqCst);
                (StatusCode::CREATED, NOTHING, ORDER)
            }
        }
    }
}

/// A shop whose clients wait so long for an answer.
async fn shop(script: Script, timeout: Duration) -> (Shop, Door) {
    let door = Door::default();
    let inside = door.clone();
    let order = post(move |headers: HeaderMap| inside.answer(script, headers));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    // Ends with the test's runtime.
    tokio::spawn(async move { axum::serve(listener, Router::new().route("/api/order", order)).await });
    (Shop::new(&base, timeout).unwrap(), door)
}

/// For tests in which a request gets no answer.
const SHORT: Duration = Duration::from_secs(2);
const PACE: Pace = Pace { rate: 1000.0, in_flight: 4, patience: PATIENCE };

async fn send_some(count: usize, timeout: Duration, script: Script) -> (Vec<Sent>, Door) {
    let (shop, door) = shop(script, timeout).await;
    let sent = send(&shop, PACE, Orders::new(1).take(count), CancellationToken::new()).await;
    assert_eq!(sent.len(), count);
    (sent, door)
}

fn stands(sent: &Sent) -> bool {
    matches!(sent.fate, Fate::Accepted { .. })
}

#[tokio::test]
async fn an_unknown_outcome_is_repeated_under_its_key_until_there_is_a_definite_answer() {
    let (sent, door) = send_some(8, SHORT, |request| match request {
        1 => Reply::Status(503),
        2 => Reply::Garbage,
        3 => Reply::Silence,
        4 => Reply::Status(429),
        _ => Reply::Replay,
    })
    .await;
    assert!(
        sent.iter()
            .all(|sent| matches!(sent.fate, Fate::Accepted { replayed: true, .. }) && sent.attempts == 5),
        "{sent:?}"
    );
    assert_eq!(door.requests(), [5; 8], "requests under each of eight keys");
}

#[tokio::test]
async fn a_definite_answer_is_not_asked_for_again() {
    let (sent, door) = send_some(8, PATIENCE, |_| Reply::Accept).await;
    assert!(sent.iter().all(|sent| stands(sent) && sent.attempts == 1), "{sent:?}");
    assert_eq!(door.requests(), [1; 8]);
    let (sent, door) = send_some(3, PATIENCE, |_| Reply::Status(422)).await;
    assert!(
        sent.iter().all(|sent| matches!(&sent.fate, Fate::Refused(reason) if reason.contains("422"))),
        "{sent:?}"
    );
    assert_eq!(door.requests(), [1; 3]);
}

#[tokio::test]
async fn an_order_that_never_gets_a_definite_answer_is_reported_as_such() {
    let (shop, _) = shop(|_| Reply::Status(503), PATIENCE).await;
    let pace = Pace { patience: Duration::from_millis(200), ..PACE };
    let sent = send(&shop, pace, Orders::new(1).take(3), CancellationToken::new()).await;
    assert_eq!(sent.len(), 3);
    assert!(
        sent.iter().all(|sent| matches!(&sent.fate, Fate::Unanswered(reason) if reason.contains("503"))),
        "{sent:?}"
    );
}

#[tokio::test]
async fn no_more_orders_are_under_way_than_allowed_and_those_that_wait_are_not_left_out() {
    let (shop, door) = shop(|_| Reply::AtTheGate, PATIENCE).await;
    let sending = send(&shop, PACE, Orders::new(1).take(12), CancellationToken::new());
    let opening = async {
        eventually("four orders at the gate", async || {
            if door.requests().len() == PACE.in_flight {
                Ok(())
            } else {
                Err(door.requests().len().to_string())
            }
        })
        .await;
        door.gate.cancel();
    };
    let (sent, ()) = tokio::join!(sending, opening);
    assert_eq!(sent.len(), 12);
    assert!(sent.iter().all(stands), "{sent:?}");
    assert_eq!(door.most_under_way.load(Ordering::SeqCst), PACE.in_flight);
}

#[tokio::test]
async fn a_stop_ends_new_orders_and_waits_for_those_under_way() {
    let (shop, door) =
        shop(|request| if request == 1 { Reply::Status(503) } else { Reply::Accept }, PATIENCE).await;
    let stop = CancellationToken::new();
    let sending = send(&shop, PACE, Orders::new(1), stop.clone());
    let stopping = async {
        eventually("an order is under way", async || {
            if door.requests().is_empty() { Err("none yet") } else { Ok(()) }
        })
        .await;
        stop.cancel();
    };
    let (sent, ()) = tokio::join!(sending, stopping);
    assert!(!sent.is_empty() && sent.iter().all(stands), "{sent:?}");
    assert_eq!(sent.len(), door.requests().len());
}
