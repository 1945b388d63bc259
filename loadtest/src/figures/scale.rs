//! Where a value stands on an axis, and where the axis has its lines.

use super::panels::Unit;

/// Intervals that an axis has at most, and the steps that they may have, times a power of ten.
const INTERVALS: u32 = 5;
const STEPS: [f64; 4] = [1.0, 2.0, 2.5, 5.0];
/// Decades that a logarithmic axis has at most.
const DECADES: i32 = 6;

/// An axis.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Scale {
    kind: Kind,
    unit: Unit,
}

#[derive(Clone, Debug, PartialEq)]
enum Kind {
    /// From 0, in so many steps.
    Linear { step: f64, intervals: u32 },
    /// From one power of ten to another.
    Logarithmic { from: i32, to: i32 },
}

/// A line of an axis.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tick {
    /// 0 at the bottom, 1 at the top.
    pub(super) at: f64,
    pub(super) label: String,
}

impl Scale {
    /// An axis for `values`; with `intervals` it has so many, to share the lines of another one.
    pub(super) fn new(unit: Unit, values: impl Iterator<Item = f64>, intervals: Option<u32>) -> Self {
        let values: Vec<f64> = values.filter(|value| *value > 0.0).collect();
        let least = values.iter().copied().fold(f64::INFINITY, f64::min);
        let most = values.iter().copied().fold(0.0, f64::max);
        let kind = match unit {
            Unit::SecondsOfAnyLength if most > 0.0 => decades(least, most),
            Unit::SecondsOfAnyLength => Kind::Logarithmic { from: -3, to: 0 },
            Unit::Share => even(1.0, Some(intervals.unwrap_or(4)), unit),
            _ => even(if most > 0.0 { most } else { 1.0 }, intervals, unit),
        };
        Self { kind, unit }
    }

    pub(super) fn intervals(&self) -> u32 {
        match self.kind {
            Kind::Linear { intervals, .. } => intervals,
            Kind::Logarithmic { from, to } => to.abs_diff(from),
        }
    }

    /// 0 at the bottom, 1 at the top. What lies outside stands at the edge.
    pub(super) fn place(&self, value: f64) -> f64 {
        let at = match self.kind {
            Kind::Linear { step, intervals } => value / (step * f64::from(intervals)),
            Kind::Logarithmic { .. } if value <= 0.0 => 0.0,
            Kind::Logarithmic { from, to } => (value.log10() - f64::from(from)) / f64::from(to - from),
        };
        at.clamp(0.0, 1.0)
    }

    pub(super) fn ticks(&self) -> Vec<Tick> {
        let count = self.intervals();
        let tick = |i: u32| Tick { at: f64::from(i) / f64::from(count), label: self.label(i) };
        (0..=count).map(tick).collect()
    }

    /// What the numbers are, in a word.
    pub(super) fn unit(&self) -> &'static str {
        match self.unit {
            Unit::PerSecond => "per second",
            Unit::Seconds if self.in_milliseconds() => "milliseconds",
            Unit::Seconds => "seconds",
            Unit::SecondsOfAnyLength => "time, logarithmic",
            Unit::Rows => "rows",
            Unit::Share => "% of the reads",
            Unit::Cores => "cores",
            Unit::Mebibytes => "MiB",
        }
    }

    fn label(&self, tick: u32) -> String {
        match self.kind {
            Kind::Linear { step, .. } => {
                let factor = match self.unit {
                    Unit::Share => 100.0,
                    Unit::Seconds if self.in_milliseconds() => 1e3,
                    _ => 1.0,
                };
                number(step * f64::from(tick) * factor)
            }
            Kind::Logarithmic { from, .. } => duration(from + tick.cast_signed()),
        }
    }

    fn in_milliseconds(&self) -> bool {
        matches!(self.kind, Kind::Linear { step, intervals } if step * f64::from(intervals) <= 1.0)
    }
}

/// The fewest round steps that reach `most`.
fn even(most: f64, intervals: Option<u32>, unit: Unit) -> Kind {
    let whole = unit == Unit::Rows;
    let step = round_up(most / f64::from(intervals.unwrap_or(INTERVALS)), whole);
    // A hair less, or 0.3 would not be three times 0.1.
    let needed = || (most / step - 1e-9).ceil().max(1.0) as u32;
    Kind::Linear { step, intervals: intervals.unwrap_or_else(needed) }
}

/// The next round number.
fn round_up(raw: f64, whole: bool) -> f64 {
    let power = 10_f64.powf(raw.log10().floor());
    let steps = STEPS.iter().map(|step| step * power).chain([10.0 * power]);
    let round = steps.filter(|step| !whole || step.fract() == 0.0).find(|step| *step >= raw * (1.0 - 1e-9));
    let round = round.unwrap_or(10.0 * power);
    if whole { round.max(1.0) } else { round }
}

fn decades(least: f64, most: f64) -> Kind {
    let to = most.log10().ceil() as i32;
    let from = (least.log10().floor() as i32).max(to - DECADES).min(to - 1);
    Kind::Logarithmic { from, to }
}

/// Without zeros at its end, and thousands as k.
fn number(value: f64) -> String {
    let (value, thousands) = if value >= 10_000.0 { (value / 1e3, "k") } else { (value, "") };
    let text = format!("{value:.3}");
    format!("{}{thousands}", text.trim_end_matches('0').trim_end_matches('.'))
}

/// A power of ten of a second.
fn duration(power: i32) -> String {
    let (power, unit) = match power {
        ..-3 => (power + 6, "µs"),
        -3..0 => (power + 3, "ms"),
        _ => (power, "s"),
    };
    format!("{} {unit}", number(10_f64.powi(power)))
}
