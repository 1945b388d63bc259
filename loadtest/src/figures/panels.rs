//! What is drawn: six panels, each asked for as a dashboard asks for it.

use std::borrow::Cow;

use super::dashboards::Source;
use super::series::Series;

/// What the numbers of an axis are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    PerSecond,
    /// Written as milliseconds where all of them are below a second.
    Seconds,
    /// Of very different length: the axis is logarithmic.
    SecondsOfAnyLength,
    Rows,
    /// From 0 to 1, written as percent.
    Share,
    Cores,
    Mebibytes,
}

/// A panel before anything was asked.
pub(super) struct Plan {
    pub(super) title: &'static str,
    pub(super) left: Axis,
    /// Its curves are dashed.
    pub(super) right: Option<Axis>,
}

pub(super) struct Axis {
    pub(super) unit: Unit,
    pub(super) sources: &'static [Source],
}

/// A panel with what was measured.
#[derive(Debug)]
pub(crate) struct Panel {
    pub(crate) title: Cow<'static, str>,
    pub(crate) left: Side,
    pub(crate) right: Option<Side>,
}

#[derive(Debug)]
pub(crate) struct Side {
    pub(crate) unit: Unit,
    pub(crate) curves: Vec<Series>,
}

impl Panel {
    /// Whether nothing was measured.
    pub(super) fn is_empty(&self) -> bool {
        self.sides().all(|side| side.curves.iter().all(Series::is_empty))
    }

    pub(super) fn sides(&self) -> impl Iterator<Item = &Side> {
        std::iter::once(&self.left).chain(&self.right)
    }
}

pub(super) const PANELS: [Plan; 6] = [
    Plan {
        title: "Orders and their events",
        left: Axis {
            unit: Unit::PerSecond,
            sources: &[
                Source::of("overview", "Orders accepted"),
                Source::of("overview", "Events published"),
                Source::of("overview", "Events applied, by group"),
                Source::of("api", "Orders by outcome").quiet(),
            ],
        },
        right: None,
    },
    Plan {
        title: "POST /api/order, until its answer",
        left: Axis {
            unit: Unit::Seconds,
            sources: &[
                Source::of("overview", "POST /api/order, p99"),
                Source::of("api", "POST /api/order").only("p50"),
            ],
        },
        right: None,
    },
    Plan {
        title: "Outbox",
        left: Axis { unit: Unit::Rows, sources: &[Source::of("relay", "Rows in the outbox")] },
        right: Some(Axis {
            unit: Unit::Seconds,
            sources: &[Source::of("overview", "Outbox: age of the oldest row")],
        }),
    },
    Plan {
        title: "Lag: age of the oldest unread event",
        left: Axis { unit: Unit::Seconds, sources: &[Source::of("overview", "Lag in seconds")] },
        right: None,
    },
    Plan {
        title: "From accepted to effect, p99",
        left: Axis {
            unit: Unit::SecondsOfAnyLength,
            sources: &[Source::of("overview", "Accepted to effect, p99")],
        },
        right: None,
    },
    Plan {
        title: "Cache hits and processor time",
        left: Axis { unit: Unit::Share, sources: &[Source::of("cache", "Hit rate")] },
        right: Some(Axis { unit: Unit::Cores, sources: &[Source::of("api", "Processor time")] }),
    },
];
