//! The open loop: orders come at their rate whatever became of those before them.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::order::Order;
use super::shop::{Answer, Shop};

/// The first wait before a request whose outcome is unknown is repeated; doubled after each further one.
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// The longest.
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// How orders are sent.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Orders per second, above zero.
    pub rate: f64,
    /// Orders without a definite answer at a time. While there are so many, those that are due wait their turn and are sent
    /// as soon as there is room: none is left out.
    pub in_flight: usize,
    /// How long the last orders may take to get a definite answer after the last one was sent.
    pub patience: Duration,
}

/// What became of one order, as its client knows it.
#[derive(Clone, Debug)]
pub struct Sent {
    /// What was sent.
    pub order: Order,
    /// How it ended.
    pub fate: Fate,
    /// Requests that it took, all under the same key.
    pub attempts: u32,
    /// From the moment when it was due to its definite answer.
    pub latency: Duration,
}

/// How an order ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The order stands.
    Accepted {
        /// Its id.
        order_id: Uuid,
        /// The first request whose answer arrived was not the one that made it.
        replayed: bool,
    },
    /// Refused, and every repeat would be.
    Refused(String),
    /// Nobody knows: every request so far ended without a definite answer, the last one like this.
    Unanswered(String),
}

/// Sends orders until `stop`, then waits for the last answers. A request whose outcome is unknown is repeated under its key until
/// there is a definite answer.
pub async fn send(
    shop: &Shop,
    pace: Pace,
    mut orders: impl Iterator<Item = Order>,
    stop: CancellationToken,
) -> Vec<Sent> {
    let (room, give_up) = (Arc::new(Semaphore::new(pace.in_flight)), CancellationToken::new());
    let (mut clients, mut sent) = (JoinSet::new(), Vec::new());
    let (begin, interval) = (Instant::now(), Duration::from_secs_f64(1.0 / pace.rate));
    let mut due = begin;
    while let Some(permit) = stop.run_until_cancelled(turn(due, &room)).await.flatten() {
        let Some(order) = orders.next() else { break };
        let (shop, give_up) = (shop.clone(), give_up.clone());
        clients.spawn(async move {
            let _permit = permit;
            until_definite(&shop, order, due, &give_up).await
        });
        due += interval;
        while let Some(done) = clients.try_join_next() {
            sent.extend(done);
        }
    }
    let deadline = Instant::now() + pace.patience;
    while let Ok(Some(done)) = timeout_at(deadline, clients.join_next()).await {
        sent.extend(done);
    }
    // Every client says once more what it knows.
    give_up.cancel();
    while let Some(done) = clients.join_next().await {
        sent.extend(done);
    }
    sent
}

/// Waits until an order is due, and for room.
async fn turn(due: Instant, room: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
    sleep_until(due).await;
    room.clone().acquire_owned().await.ok()
}

async fn until_definite(shop: &Shop, order: Order, due: Instant, give_up: &CancellationToken) -> Sent {
    let (mut attempts, mut wait) = (0, FIRST_WAIT);
    let fate = loop {
        attempts += 1;
        match shop.order(&order).await {
            Answer::Accepted { order_id, replayed } => break Fate::Accepted { order_id, replayed },
            Answer::Refused(reason) => break Fate::Refused(reason),
            Answer::Unknown(reason) => {
                if give_up.run_until_cancelled(tokio::time::sleep(wait)).await.is_none() {
                    break Fate::Unanswered(reason);
                }
                wait = (wait * 2).min(LONGEST_WAIT);
            }
        }
    };
    Sent { order, fate, attempts, latency: due.elapsed() }
}
