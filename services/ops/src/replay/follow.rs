//! What a run says while it goes on.

use std::time::Duration;

use tokio::time::Instant;

/// Lines of a run at most, and the least time between two of them.
const LINES: u32 = 200;
const BETWEEN: Duration = Duration::from_secs(1);

/// Counts what was acknowledged, and says so now and then.
pub(super) struct Progress {
    total: usize,
    /// Letters that Kafka has acknowledged.
    pub(super) sent: usize,
    /// Letters that retention had removed when their turn came.
    pub(super) gone: usize,
    begin: Instant,
    between: Duration,
    said: Instant,
}

impl Progress {
    /// Of `total` letters at `rate` a second.
    pub(super) fn new(total: usize, rate: u32) -> Self {
        let whole = Duration::from_secs(total as u64) / rate.max(1);
        let (begin, between) = (Instant::now(), BETWEEN.max(whole / LINES));
        Self { total, sent: 0, gone: 0, begin, between, said: begin }
    }

    /// A line for the operator, if it is time for one.
    pub(super) fn line(&mut self) -> Option<String> {
        if self.said.elapsed() < self.between {
            return None;
        }
        self.said = Instant::now();
        let rate = self.sent as f64 / self.begin.elapsed().as_secs_f64();
        let left = self.total - self.sent - self.gone;
        let time = if rate > 0.0 { format!("{:.0} s", left as f64 / rate) } else { "a while".to_owned() };
        Some(format!("{} of {} sent, {rate:.0} a second, {time} to go", self.sent, self.total))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn there_is_a_line_a_second_at_most_and_a_long_run_does_not_flood_the_terminal() {
        let mut lines = Vec::new();
        let mut progress = Progress::new(1000, 100);
        for _ in 0..100 {
            tokio::time::advance(Duration::from_millis(100)).await;
            progress.sent += 10;
            lines.extend(progress.line());
        }
        assert_eq!(lines.len(), 10, "{lines:?}");
        assert_eq!(lines[0], "100 of 1000 sent, 100 a second, 9 s to go");

        let mut progress = Progress::new(1_000_000, 100);
        let mut lines = 0;
        for _ in 0..10_000 {
            tokio::time::advance(Duration::from_secs(1)).await;
            progress.sent += 100;
            lines += progress.line().iter().count();
        }
        assert!((150..=200).contains(&lines), "{lines}");
    }
}
