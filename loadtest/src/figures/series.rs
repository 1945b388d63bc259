//! Numbers over a time, at even steps.

use chrono::{DateTime, Utc};

/// Prometheus asks every process as often as this.
const SCRAPE_SECONDS: i64 = 5;
/// More points than this would be finer than the picture.
const POINTS: i64 = 150;

/// Which time is drawn, and at which steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    /// Unix time.
    pub(super) start: i64,
    /// Seconds.
    pub(super) step: i64,
    /// Steps from the first point to the last.
    pub(super) steps: i64,
}

impl Window {
    pub(super) fn new(until: DateTime<Utc>, minutes: u32) -> Self {
        let seconds = i64::from(minutes) * 60;
        let step = (seconds + POINTS - 1) / POINTS;
        let step = (step + SCRAPE_SECONDS - 1) / SCRAPE_SECONDS * SCRAPE_SECONDS;
        let steps = (seconds + step - 1) / step;
        let end = until.timestamp() / step * step;
        Self { start: end - steps * step, step, steps }
    }

    /// So many seconds from a beginning whose time of day says nothing.
    pub(crate) fn of_seconds(count: usize) -> Self {
        Self { start: 0, step: 1, steps: i64::try_from(count).unwrap_or(i64::MAX) }
    }

    pub(super) fn end(&self) -> i64 {
        self.start + self.steps * self.step
    }

    pub(super) fn until(&self) -> impl std::fmt::Display {
        DateTime::from_timestamp(self.end(), 0).unwrap_or_default().format("%F %T UTC")
    }

    /// What Grafana puts in place of `$__rate_interval`.
    pub(super) fn rate_interval(&self) -> String {
        format!("{}s", (self.step + SCRAPE_SECONDS).max(4 * SCRAPE_SECONDS))
    }

    fn points(&self) -> usize {
        usize::try_from(self.steps + 1).unwrap_or_default()
    }

    /// Where a time stands among the points.
    fn index(&self, time: f64) -> Option<usize> {
        let steps = ((time - self.start as f64) / self.step as f64).round();
        (steps >= 0.0 && steps <= self.steps as f64).then_some(steps as usize)
    }
}

/// A curve: a value for each point of a window, or none.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) values: Vec<Option<f64>>,
}

impl Series {
    /// What is not a finite number is a gap, and so is what was not measured.
    pub(super) fn new(name: String, samples: &[(f64, f64)], window: Window) -> Self {
        let mut values = vec![None; window.points()];
        for &(time, value) in samples.iter().filter(|(_, value)| value.is_finite()) {
            if let Some(slot) = window.index(time).and_then(|index| values.get_mut(index)) {
                *slot = Some(value);
            }
        }
        Self { name, values }
    }

    pub(super) fn measured(&self) -> impl Iterator<Item = f64> {
        self.values.iter().flatten().copied()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.measured().next().is_none()
    }

    pub(super) fn is_zero(&self) -> bool {
        self.measured().all(|value| value == 0.0)
    }
}

/// The first of each name, and none without a value.
pub(super) fn distinct(all: Vec<Series>) -> Vec<Series> {
    let mut kept: Vec<Series> = Vec::new();
    for series in all {
        if !series.is_empty() && kept.iter().all(|known| known.name != series.name) {
            kept.push(series);
        }
    }
    kept
}
