//! Waiting for a condition instead of for a time.

use std::fmt::Display;
use std::time::Duration;

use tokio::time::Instant;

/// How long a test waits for what it does not time: far longer than a slow machine needs, so that running out of it means that the
/// thing does not happen. It costs a test that passes nothing.
///
/// A test that is about a time names that time, by [`within`].
pub const PATIENCE: Duration = Duration::from_secs(180);

/// How much longer than asked a pause may take before the rest of it is the machine's.
const SLACK: Duration = Duration::from_millis(20);

/// [`within`] the time that is enough for anything: [`PATIENCE`].
pub async fn eventually<T, E: Display>(what: &str, condition: impl AsyncFnMut() -> Result<T, E>) -> T {
    within(PATIENCE, what, condition).await
}

/// Polls `condition` until it answers `Ok` and returns that value.
///
/// After `bound` it panics with `what` and the condition's last error, so a failing test says what was still
/// missing. The pauses grow from 10 to 200 ms: quick conditions cost nothing, slow ones do not load the machine.
///
/// The bound is one of time in which this process could run: while the machine stands still, as virtual ones do for seconds, so does what is
/// being waited for. What a pause takes too long is added.
pub async fn within<T, E: Display>(
    bound: Duration,
    what: &str,
    condition: impl AsyncFnMut() -> Result<T, E>,
) -> T {
    match poll(bound, what, condition).await {
        Ok(value) => value,
        Err(missing) => panic!("{missing}"),
    }
}

/// As [`within`], for whoever can go on without.
pub(crate) async fn poll<T, E: Display>(
    bound: Duration,
    what: &str,
    mut condition: impl AsyncFnMut() -> Result<T, E>,
) -> Result<T, String> {
    let mut end = Instant::now() + bound;
    let mut pause = Duration::from_millis(10);
    let mut last = "the condition never answered".to_owned();
    let missing = |last: &str| format!("not within {bound:?}: {what}; last answer: {last}");
    loop {
        match tokio::time::timeout_at(end, condition()).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => last = error.to_string(),
            // A condition that hangs is as wrong as one that says no; the error before the hang says more.
            Err(_) => return Err(missing(&last)),
        }
        if Instant::now() + pause >= end {
            return Err(missing(&last));
        }
        let asleep = Instant::now();
        tokio::time::sleep(pause).await;
        end += asleep.elapsed().saturating_sub(pause + SLACK);
        pause = (pause * 2).min(Duration::from_millis(200));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_value_of_the_first_yes_is_returned() {
        let mut asked = 0;
        let value = eventually("three questions", async || {
            asked += 1;
            if asked < 3 { Err("not yet") } else { Ok(asked) }
        });
        assert_eq!(value.await, 3);
    }

    #[tokio::test]
    async fn a_machine_that_stands_still_takes_nothing_from_the_time() {
        let mut asked = 0;
        let value = within(Duration::from_millis(300), "three questions", async || {
            asked += 1;
            // Holds up the only thread during the pause that follows.
            tokio::spawn(async { std::thread::sleep(Duration::from_millis(400)) });
            if asked < 3 { Err("not yet") } else { Ok(asked) }
        });
        assert_eq!(value.await, 3);
    }

    #[tokio::test]
    #[should_panic(expected = "not within 50ms: a miracle; last answer: none today")]
    async fn a_condition_that_stays_false_fails_with_its_last_answer() {
        within(Duration::from_millis(50), "a miracle", async || Err::<(), _>("none today")).await;
    }

    #[tokio::test]
    #[should_panic(expected = "not within 50ms: an answer")]
    async fn a_condition_that_hangs_fails_at_the_deadline() {
        within(Duration::from_millis(50), "an answer", async || {
            std::future::pending::<Result<(), String>>().await
        })
        .await;
    }
}
