//! The axis of time.

use chrono::{DateTime, Utc};

use super::scale::Tick;
use super::series::Window;

/// Seconds between two lines.
const STEPS: [i64; 14] = [10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 14_400, 43_200, 86_400];
/// Lines, at most.
const LINES: i64 = 6;

/// Lines at full minutes or hours, as many as have room.
pub(super) fn ticks(window: Window) -> Vec<Tick> {
    let length = window.steps * window.step;
    let step = STEPS.into_iter().find(|step| length / step <= LINES).unwrap_or(86_400);
    let first = (window.start + step - 1) / step;
    let times = (first..).map(|number| number * step).take_while(|time| *time <= window.end());
    let tick = |time: i64| Tick {
        at: (time - window.start) as f64 / length as f64,
        label: label(window, DateTime::from_timestamp(time, 0).unwrap_or_default(), step),
    };
    times.map(tick).collect()
}

fn label(window: Window, time: DateTime<Utc>, step: i64) -> String {
    let format = match step {
        // Since the beginning, and no time of day.
        _ if window.start == 0 && window.end() < 3_600 => "%-M:%S",
        ..60 => "%H:%M:%S",
        60..43_200 => "%H:%M",
        43_200..86_400 => "%a %H:%M",
        _ => "%a %d",
    };
    time.format(format).to_string()
}
