//! How fast letters are sent.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// Batches a second, at rates that allow for so many.
const BATCHES: u32 = 10;
/// Letters of a batch at most: what may be lost from sight when the broker goes away.
const BATCH: u32 = 100;

/// Spreads letters evenly, whatever time the broker takes for them.
pub(super) struct Pace {
    each: Duration,
    next: Instant,
    /// How many letters go together.
    pub(super) batch: usize,
}

impl Pace {
    /// `rate` letters a second, at least one.
    pub(super) fn new(rate: u32) -> Self {
        let rate = rate.max(1);
        let batch = (rate / BATCHES).clamp(1, BATCH);
        Self { each: Duration::from_secs(1) / rate, next: Instant::now(), batch: batch as usize }
    }

    /// Waits until `letters` more may go. Time in which nothing was sent is not made up for.
    pub(super) async fn wait_for(&mut self, letters: usize) {
        sleep_until(self.next).await;
        let letters = u32::try_from(letters).unwrap_or(u32::MAX);
        self.next = Instant::now() + self.each.saturating_mul(letters);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn never_more_letters_go_in_a_second_than_the_rate_says_and_lost_time_is_not_made_up_for() {
        for (rate, batch) in [(1, 1), (10, 1), (100, 10), (5000, 100)] {
            let mut pace = Pace::new(rate);
            assert_eq!(pace.batch, batch);
            let begin = Instant::now();
            let batches = 3 * rate as usize / batch;
            for _ in 0..batches {
                pace.wait_for(batch).await;
            }
            // The first batch does not wait.
            let expected = pace.each * u32::try_from((batches - 1) * batch).unwrap();
            let slack = Duration::from_millis(1) * u32::try_from(batches).unwrap();
            let took = begin.elapsed();
            assert!((expected..=expected + slack).contains(&took), "{rate}: {took:?} for {expected:?}");

            tokio::time::advance(Duration::from_secs(60)).await;
            let begin = Instant::now();
            pace.wait_for(batch).await;
            pace.wait_for(batch).await;
            assert!(begin.elapsed() >= pace.each * u32::try_from(batch).unwrap(), "{rate}");
        }
    }
}
