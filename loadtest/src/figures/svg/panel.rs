//! One panel.

use std::fmt::Write;

use super::super::clock;
use super::super::panels::{Panel, Side};
use super::super::scale::Scale;
use super::super::series::{Series, Window};
use super::legend::{Legend, class};
use super::px;
use super::text::escaped;

/// Without the legend.
pub(super) const HEIGHT: f64 = BOTTOM + 26.0;
const TOP: f64 = 42.0;
const BOTTOM: f64 = TOP + 125.0;
/// Room for the numbers at both sides, so that the times of all panels stand below each other.
const SIDE: f64 = 42.0;

/// Where the curves are.
struct Plot {
    left: f64,
    right: f64,
}

pub(super) fn draw(out: &mut String, panel: &Panel, legend: &Legend, window: Window, width: f64) {
    let plot = Plot { left: SIDE, right: width - SIDE };
    let _ = write!(out, r#"<text class="title" y="13">{}</text>"#, escaped(&panel.title));
    let left = scale(&panel.left, None);
    plot.grid(out, &left, window);
    plot.numbers(out, &left, plot.left - 6.0, "end");
    let _ = write!(out, r#"<text class="dim" y="29">{}</text>"#, left.unit());
    let right = panel.right.as_ref().map(|side| (side, scale(side, Some(left.intervals()))));
    if let Some((_, scale)) = &right {
        plot.numbers(out, scale, plot.right + 6.0, "start");
        let end = px(width);
        let _ = write!(out, r#"<text class="dim end" x="{end}" y="29">{} (dashed)</text>"#, scale.unit());
    }
    if panel.is_empty() {
        let (x, y) = (px(plot.left.midpoint(plot.right)), px(TOP.midpoint(BOTTOM)));
        let _ = write!(out, r#"<text class="dim middle" x="{x}" y="{y}" dy="4">nothing measured</text>"#);
    }
    for (side, scale, dashed) in std::iter::once((&panel.left, &left, false))
        .chain(right.iter().map(|(side, scale)| (*side, scale, true)))
    {
        for series in &side.curves {
            let (class, path) = (class(&series.name, dashed), plot.path(series, scale));
            let _ = write!(out, r#"<path class="{class}" d="{path}"/>"#);
        }
    }
    legend.draw(out, HEIGHT);
}

fn scale(side: &Side, intervals: Option<u32>) -> Scale {
    Scale::new(side.unit, side.curves.iter().flat_map(Series::measured), intervals)
}

impl Plot {
    fn x(&self, share: f64) -> String {
        px(self.left + (self.right - self.left) * share)
    }

    fn y(share: f64) -> String {
        px(BOTTOM - (BOTTOM - TOP) * share)
    }

    fn grid(&self, out: &mut String, scale: &Scale, window: Window) {
        let (left, right) = (px(self.left), px(self.right));
        let lines: String =
            scale.ticks().iter().map(|tick| format!("M{left} {}H{right}", Self::y(tick.at))).collect();
        let _ = write!(out, r#"<path class="grid" d="{lines}"/>"#);
        let (mut marks, y) = (String::new(), px(BOTTOM + 17.0));
        for tick in clock::ticks(window) {
            let x = self.x(tick.at);
            let _ = write!(marks, "M{x} {BOTTOM}v4");
            let _ = write!(out, r#"<text class="dim middle" x="{x}" y="{y}">{}</text>"#, tick.label);
        }
        let _ = write!(out, r#"<path class="axis" d="M{left} {BOTTOM}H{right}{marks}"/>"#);
    }

    fn numbers(&self, out: &mut String, scale: &Scale, x: f64, anchor: &str) {
        let x = px(x);
        for tick in scale.ticks() {
            let y = Self::y(tick.at);
            let _ = write!(out, r#"<text class="dim {anchor}" x="{x}" y="{y}" dy="4">{}</text>"#, tick.label);
        }
    }

    /// A line through what was measured, broken where nothing was; a value alone is a dot, which is what a line without length and with
    /// round ends is.
    fn path(&self, series: &Series, scale: &Scale) -> String {
        let last = series.values.len().saturating_sub(1).max(1) as f64;
        let mut path = String::new();
        for (i, value) in series.values.iter().enumerate() {
            let Some(value) = value else { continue };
            let is_there =
                |i: Option<usize>| i.and_then(|i| series.values.get(i)).is_some_and(Option::is_some);
            let follows = is_there(i.checked_sub(1));
            let (x, y) = (self.x(i as f64 / last), Self::y(scale.place(*value)));
            let _ = write!(path, "{}{x} {y}", if follows { 'L' } else { 'M' });
            if !follows && !is_there(Some(i + 1)) {
                path.push_str("h0");
            }
        }
        path
    }
}
