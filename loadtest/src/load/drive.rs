//! The two ways to make load: users who wait for their answers, and requests that come whatever became of those before them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::http::{Connection, Origin};
use super::journal::Journal;
use super::request::{Dice, Script};
use super::schedule::Schedule;

/// How late a request of an open loop may start. After that it counts as one that could not be started, or a queue would grow without end.
const LATE: Duration = Duration::from_secs(1);

/// What is asked of whom.
#[derive(Clone, Debug)]
pub struct Load {
    /// Of whom.
    pub origin: Origin,
    /// What.
    pub script: Arc<Script>,
    /// What is drawn follows from it.
    pub seed: u64,
    /// How long a request may take.
    pub timeout: Duration,
    /// Where it is written down.
    pub journal: Arc<Journal>,
}

/// The closed loop: each user waits for the answer, thinks, and asks again.
#[derive(Clone, Copy, Debug)]
pub struct Users {
    /// How many.
    pub count: u32,
    /// How many of them come per second, above zero.
    pub ramp: f64,
    /// How long each thinks between an answer and the next request, at least and at most.
    pub think: Option<(Duration, Duration)>,
}

/// Users who come one after the other and ask until `length` is over. Returns when the last answer is there.
pub async fn closed(load: &Load, users: Users, length: Duration) {
    let began = Instant::now();
    let (end, mut all) = (began + length, JoinSet::new());
    for number in 0..users.count {
        let (load, from) = (load.clone(), began + Duration::from_secs_f64(f64::from(number) / users.ramp));
        all.spawn(async move {
            let mut connection = Connection::new(load.origin.clone(), load.timeout);
            let mut dice = Dice::new(user_seed(load.seed, number));
            let mut next = from;
            while next < end {
                sleep_until(next).await;
                let (ask, asked) = (load.script.next(&mut dice), Instant::now());
                let kind = ask.kind();
                let answer = ask.send(&mut connection).await;
                let answered = Instant::now();
                load.journal.record(kind, &answer, answered - asked);
                next = users.think.map_or(answered, |(least, most)| answered + dice.between(least, most));
            }
        });
    }
    while all.join_next().await.is_some() {}
}

/// Users draw different things, and those of another seed different ones again.
fn user_seed(seed: u64, number: u32) -> u64 {
    seed.wrapping_mul(1_000_003).wrapping_add(u64::from(number))
}

/// Requests that come at their times. A latency counts from when a request was due, so that who has to wait for those before it shows. At most
/// `in_flight` are on their way at a time. Returns when the last answer is there.
pub async fn open(load: &Load, schedule: &Schedule, in_flight: usize) {
    open_within(load, schedule, in_flight, LATE).await;
}

/// As [`open`], for requests that may start so `late`.
async fn open_within(load: &Load, schedule: &Schedule, in_flight: usize, late: Duration) {
    let (pool, mut dice) = (Pool::new(load, in_flight), Dice::new(load.seed));
    let (began, mut requests) = (Instant::now(), JoinSet::new());
    for due in schedule.dues() {
        let due = began + due;
        sleep_until(due).await;
        let Ok(mut lease) = timeout_at(due + late, pool.take()).await else {
            load.journal.not_started();
            continue;
        };
        // Drawn here, so that the order of the answers does not change what is asked.
        let ask = load.script.next(&mut dice);
        let journal = load.journal.clone();
        requests.spawn(async move {
            let kind = ask.kind();
            if let Some(connection) = &mut lease.connection {
                let answer = ask.send(connection).await;
                journal.record(kind, &answer, due.elapsed());
            }
        });
        while requests.try_join_next().is_some() {}
    }
    while requests.join_next().await.is_some() {}
}

/// So many connections. The one that was given back last goes out first: a light load uses few.
#[derive(Debug)]
struct Pool {
    room: Arc<Semaphore>,
    idle: Arc<Mutex<Vec<Connection>>>,
}

/// A connection on loan.
#[derive(Debug)]
struct Lease {
    connection: Option<Connection>,
    idle: Arc<Mutex<Vec<Connection>>>,
    _room: OwnedSemaphorePermit,
}

impl Pool {
    fn new(load: &Load, size: usize) -> Self {
        let idle = (0..size).map(|_| Connection::new(load.origin.clone(), load.timeout)).collect();
        Self { room: Arc::new(Semaphore::new(size)), idle: Arc::new(Mutex::new(idle)) }
    }

    async fn take(&self) -> Lease {
        // Never closed, so this waits until there is room.
        let Ok(room) = self.room.clone().acquire_owned().await else { std::future::pending().await };
        let connection = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Lease { connection, idle: self.idle.clone(), _room: room }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // Before the room is given back, so that who has room finds a connection.
        if let Some(connection) = self.connection.take() {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::routing::get;
    use tokio::net::TcpListener;

    use super::*;
    use crate::load::request::Mix;

    const PRODUCT: &str = r#"{"success":true,"data":{},"from_cache":true,"response_time_ms":0.1}"#;

    /// A shop whose every answer takes `time`.
    async fn shop(time: Duration) -> (Load, tokio::task::JoinHandle<()>) {
        let answer = move || async move {
            tokio::time::sleep(time).await;
            PRODUCT
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = Origin::from(listener.local_addr().unwrap());
        let routes = Router::new().route("/api/product/{id}", get(answer));
        let server = tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        let script = Arc::new(Script::new(Mix { products: 1, orders: 0 }, 1));
        let (timeout, journal) = (Duration::from_secs(30), Arc::new(Journal::default()));
        (Load { origin, script, seed: 1, timeout, journal }, server)
    }

    /// Real sockets beside paused time: a runtime that waits for the network would let hours pass. So time is let run, and these take moments.
    #[tokio::test]
    async fn a_request_that_had_to_wait_for_others_counts_from_when_it_was_due() {
        let (load, server) = shop(Duration::from_millis(60)).await;
        // Due 10 ms after each other, one at a time: the fifth is answered after 300 ms, 260 ms after it was due.
        let schedule = Schedule::constant(100.0, Duration::from_millis(50));
        open_within(&load, &schedule, 1, Duration::from_secs(60)).await;
        let summary = load.journal.totals().all().summary();
        assert_eq!(summary.count, 5);
        assert!(summary.max_ms >= 255.0, "{summary:?}");
        server.abort();
    }

    #[tokio::test]
    async fn users_ask_one_after_the_other_and_nothing_after_the_end() {
        let (load, server) = shop(Duration::from_millis(20)).await;
        let users = Users { count: 3, ramp: 1e9, think: None };
        let began = Instant::now();
        closed(&load, users, Duration::from_millis(200)).await;
        let totals = load.journal.totals();
        assert!((3..=30).contains(&totals.requests()), "{}", totals.requests());
        assert_eq!(totals.failure_rate(), 0.0);
        assert!(began.elapsed() >= Duration::from_millis(200));
        server.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_be_started_in_time_is_counted() {
        // Nobody takes the connection on loan back.
        let (load, server) = shop(Duration::ZERO).await;
        server.abort();
        let pool = Pool::new(&load, 1);
        let lease = pool.take().await;
        let began = Instant::now();
        assert!(timeout_at(began + LATE, pool.take()).await.is_err());
        assert_eq!(began.elapsed(), LATE);
        drop(lease);
        assert!(pool.take().await.connection.is_some());
    }
}
