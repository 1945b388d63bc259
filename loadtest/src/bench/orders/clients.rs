//! Who orders: a closed loop, in which each client orders again as soon as it has its answer, and an open one, in which orders are due at a rate.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::bail;
use hyper::StatusCode;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use uuid::Uuid;

use super::order::Bodies;
use crate::load::http::{Connection, Response};
use crate::load::request::{Answer, Outcome, Refusal};

/// A request without an answer for so long is no figure but a failure.
const REQUEST: Duration = Duration::from_secs(30);
/// Where orders go.
const PATH: &str = "/api/order";

/// What came of a load.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// From when the accepted ones were due, or sent, to their answers.
    pub(super) accepted: Vec<Duration>,
    /// The same of those that were refused with 503 and `Retry-After`.
    pub(super) refused: Vec<Duration>,
    /// The accepted orders with the moment at which each was due, if it was asked for.
    pub(super) orders: Vec<(Uuid, Instant)>,
    /// From the first request to the last answer.
    pub(super) took: Duration,
}

impl Tally {
    /// Orders accepted per second.
    pub(super) fn rate(&self) -> f64 {
        self.accepted.len() as f64 / self.took.as_secs_f64().max(1e-9)
    }

    /// How many orders were accepted.
    pub(super) fn count(&self) -> u64 {
        self.accepted.len() as u64
    }

    fn add(&mut self, more: Self) {
        self.accepted.extend(more.accepted);
        self.refused.extend(more.refused);
        self.orders.extend(more.orders);
    }

    /// Notes an answer; an error if it is neither 201 nor a 503 that says that too many came, and when to come back.
    fn note(&mut self, answer: &Response, due: Instant, remember: bool) -> anyhow::Result<()> {
        let took = due.elapsed();
        match Answer::read(answer).outcome {
            Outcome::Accepted { order_id, step_failed: false } if answer.status == StatusCode::CREATED => {
                self.accepted.push(took);
                if remember {
                    self.orders.push((order_id, due));
                }
            }
            Outcome::Refused { refusal: Refusal::Overloaded, .. } if answer.retry_after().is_some() => {
                self.refused.push(took);
            }
            _ => bail!("an order was answered {}: {}", answer.status, String::from_utf8_lossy(&answer.body)),
        }
        Ok(())
    }
}

/// `clients` order for `length`, each again as soon as it has its answer. The same `seed` has them order the same.
///
/// # Errors
/// An order got another answer than 201 or a 503 that says that too many came, or none.
pub(super) async fn closed(
    shop: SocketAddr,
    clients: u64,
    length: Duration,
    seed: u64,
) -> anyhow::Result<Tally> {
    let began = Instant::now();
    let mut all = JoinSet::new();
    for client in 0..clients {
        all.spawn(async move {
            let (mut connection, mut bodies) =
                (Connection::new(shop, REQUEST), Bodies::new(seed * 10_000 + client));
            let mut tally = Tally::default();
            while began.elapsed() < length {
                let sent = Instant::now();
                let answer = connection.post_json(PATH, &[], bodies.next()).await?;
                tally.note(&answer, sent, false)?;
            }
            anyhow::Ok(tally)
        });
    }
    gather(all, began).await
}

/// An open loop.
#[derive(Clone, Copy, Debug)]
pub(super) struct Open {
    /// Orders that are due per second.
    pub(super) rate: f64,
    /// For how long.
    pub(super) length: Duration,
    /// Orders without an answer at a time. While there are so many, those that are due wait, and their time counts.
    pub(super) in_flight: u64,
    /// Whether the accepted orders are remembered one by one.
    pub(super) remember: bool,
}

/// Orders are due at a steady rate, whatever became of those before them. Times count from when an order was due.
///
/// # Errors
/// As [`closed`].
pub(super) async fn open(shop: SocketAddr, open: Open, seed: u64) -> anyhow::Result<Tally> {
    let Open { rate, length, in_flight, remember } = open;
    let (began, next) = (Instant::now(), Arc::new(AtomicU64::new(0)));
    let orders = (rate * length.as_secs_f64()) as u64;
    let mut all = JoinSet::new();
    for client in 0..in_flight.min(orders) {
        let next = next.clone();
        all.spawn(async move {
            let (mut connection, mut bodies) =
                (Connection::new(shop, REQUEST), Bodies::new(seed * 10_000 + client));
            let mut tally = Tally::default();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= orders {
                    return anyhow::Ok(tally);
                }
                let due = began + Duration::from_secs_f64(number as f64 / rate);
                sleep_until(due).await;
                let answer = connection.post_json(PATH, &[], bodies.next()).await?;
                tally.note(&answer, due, remember)?;
            }
        });
    }
    gather(all, began).await
}

async fn gather(mut all: JoinSet<anyhow::Result<Tally>>, began: Instant) -> anyhow::Result<Tally> {
    let mut tally = Tally::default();
    while let Some(client) = all.join_next().await {
        tally.add(client??);
    }
    tally.took = began.elapsed();
    Ok(tally)
}
