//! The way to Redis: quick or not at all.

mod dial;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{FromRedisValue, Pipeline, RedisError};
use tracing::{info, warn};

use self::dial::Dial;
use crate::near::{Near, Ticket};

/// Single answers may come late on a busy machine, and then many at once. A server hangs if at least this many came late, over at
/// least [`LATE_TIMEOUTS`] time-outs, and none in time between them.
const LATE_ANSWERS: u32 = 3;
const LATE_TIMEOUTS: u32 = 2;

/// One connection, shared by all requests, and the knowledge whether it is worth using.
///
/// After a failure Redis is left alone for the cool-down; then one caller tries to connect while the others go on without. So a
/// server that hangs costs a few requests the time-out, and not every request.
///
/// Each connection has Redis tell [`Near`] when something changes that was read on it, if Redis can.
pub(crate) struct RedisLink {
    dial: Dial,
    timeout: Duration,
    cool_down: Duration,
    near: Arc<Near>,
    /// Connections that were tried; each has its own number.
    tried: AtomicU64,
    state: Mutex<State>,
}

struct State {
    connection: Option<MultiplexedConnection>,
    /// The connection's number, so that a late failure of an old one does not take down its successor.
    generation: u64,
    late: Option<Late>,
    /// While there is no connection: when somebody may try next.
    next_try: Instant,
    /// A change is logged, not every failure.
    reported_away: bool,
}

/// Answers that came late since the last one that came in time.
#[derive(Clone, Copy)]
struct Late {
    count: u32,
    since: Instant,
}

impl RedisLink {
    /// Connects when it is first used.
    pub(crate) fn new(
        url: &str,
        timeout: Duration,
        cool_down: Duration,
        near: Arc<Near>,
    ) -> Result<Self, RedisError> {
        Ok(Self {
            dial: Dial::new(url, timeout, near.clone())?,
            timeout,
            cool_down,
            near,
            tried: AtomicU64::new(0),
            state: Mutex::new(State {
                connection: None,
                generation: 0,
                late: None,
                next_try: Instant::now(),
                reported_away: false,
            }),
        })
    }

    /// Runs commands. `None`: Redis is away, and that is known or was just found out. The ticket is from before they were sent.
    pub(crate) async fn run<T: FromRedisValue>(&self, commands: &Pipeline) -> Option<(T, Ticket)> {
        let (connection, generation) = match self.current() {
            Some(current) => current,
            None if self.take_turn() => self.connect().await.ok()?,
            None => return None,
        };
        let ticket = self.near.ticket(generation);
        let answer = self.ask(connection, generation, commands).await.ok()?;
        Some((answer, ticket))
    }

    /// Asks Redis whether it is there, whatever is known so far. For health checks: they also notice its return when nobody reads.
    pub(crate) async fn check(&self) -> Result<(), String> {
        let answer = async {
            let (connection, generation) = match self.current() {
                Some(current) => current,
                None => self.connect().await?,
            };
            self.ask::<(String,)>(connection, generation, redis::pipe().cmd("PING")).await
        };
        answer.await.map(drop).map_err(|_| "Redis does not answer".to_owned())
    }

    /// Whether it is used at the moment: it is connected, or was not needed yet.
    pub(crate) fn is_up(&self) -> bool {
        !self.state().reported_away
    }

    async fn ask<T: FromRedisValue>(
        &self,
        mut connection: MultiplexedConnection,
        generation: u64,
        commands: &Pipeline,
    ) -> Result<T, RedisError> {
        // The connection's own time-out starts when the command is on its way; waiting to get that far counts here too.
        let answer = match tokio::time::timeout(self.timeout, commands.query_async(&mut connection)).await {
            Ok(answer) => answer,
            Err(_) => Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()),
        };
        let mut state = self.state();
        if state.generation == generation {
            match &answer {
                Ok(_) => state.late = None,
                Err(error) if error.is_timeout() && !self.hangs(&mut state) => {}
                Err(error) => self.lost(&mut state, error),
            }
        }
        answer
    }

    async fn connect(&self) -> Result<(MultiplexedConnection, u64), RedisError> {
        let generation = self.tried.fetch_add(1, Ordering::Relaxed) + 1;
        let before = self.state().generation;
        // Connecting is several steps, each of which has the time-out for itself.
        let connected = match tokio::time::timeout(self.timeout * 2, self.dial.open(generation)).await {
            Ok(connected) => connected,
            Err(_) => Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()),
        };
        let mut state = self.state();
        match connected {
            Ok((connection, tells)) => {
                if state.reported_away {
                    info!("Redis is back, using the cache again");
                }
                state.reported_away = false;
                state.generation = generation;
                state.late = None;
                state.connection = Some(connection.clone());
                if tells {
                    self.near.open(generation);
                }
                Ok((connection, generation))
            }
            Err(error) => {
                // A health check connects whoever else does. What it made meanwhile is not what failed here.
                if state.generation == before {
                    self.lost(&mut state, &error);
                }
                Err(error)
            }
        }
    }

    /// Notes one more late answer and judges.
    fn hangs(&self, state: &mut State) -> bool {
        let late = state.late.get_or_insert_with(|| Late { count: 0, since: Instant::now() });
        late.count += 1;
        late.count >= LATE_ANSWERS && late.since.elapsed() >= self.timeout * LATE_TIMEOUTS
    }

    fn lost(&self, state: &mut State, error: &RedisError) {
        if !state.reported_away {
            warn!(%error, "Redis is away, going on without the cache");
        }
        state.reported_away = true;
        state.connection = None;
        self.near.close(state.generation);
        state.next_try = Instant::now() + self.cool_down;
    }

    fn current(&self) -> Option<(MultiplexedConnection, u64)> {
        let state = self.state();
        state.connection.clone().map(|connection| (connection, state.generation))
    }

    /// Whether the caller is the one to try again now.
    fn take_turn(&self) -> bool {
        let mut state = self.state();
        let now = Instant::now();
        if now < state.next_try {
            return false;
        }
        // Nobody else until this try has had its time.
        state.next_try = now + self.cool_down.max(self.timeout * 2);
        true
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
