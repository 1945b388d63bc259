//! What came of the slices of each mode, beside those in which nothing is sampled.

use std::fmt::{self, Display};

use super::slice::Outcome;
use crate::bench::relay::numbers::median;
use crate::bench::report::{Figure, Spent, Target, Unit};

/// What is to be left of the throughput at the share that is recommended.
const KEPT: Target = Target::RatioAtLeast(0.9);
/// Whose processor time stands apart: it is no part of the system, and may run elsewhere.
const COLLECTOR: &str = "jaeger";

/// What the processes are told about traces.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Tracing {
    /// There is no collector.
    Off,
    /// There is one, and this share of the traces that begin in a process is sampled.
    On(f64),
}

impl Display for Tracing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("no collector"),
            Self::On(share) => write!(f, "ratio {share}"),
        }
    }
}

impl Tracing {
    /// As settings of the processes.
    pub(super) fn settings(self, collector: &str) -> [(&'static str, String); 2] {
        let (collector, share) = match self {
            Self::Off => ("", 0.0),
            Self::On(share) => (collector, share),
        };
        [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.to_owned()),
            ("OTEL_TRACES_SAMPLER_ARG", share.to_string()),
        ]
    }
}

/// All slices of a mode.
#[derive(Debug, Default)]
pub(super) struct Tally {
    accepted_rates: Vec<f64>,
    whole_rates: Vec<f64>,
    spent: Spent,
    exported: u64,
    dropped: u64,
}

impl Tally {
    /// One more.
    pub(super) fn add(&mut self, outcome: Outcome) {
        self.accepted_rates.push(outcome.accepted_rate());
        self.whole_rates.push(outcome.whole_rate());
        self.spent.add(&outcome.spent);
        self.exported += outcome.exported;
        self.dropped += outcome.dropped;
    }

    fn micros_without_collector(&self) -> f64 {
        self.spent.micros_per_event(|name| name != COLLECTOR)
    }

    fn per_order(&self, count: u64) -> f64 {
        count as f64 / self.spent.events.max(1) as f64
    }
}

/// How a share is called.
pub(super) fn name(share: f64) -> String {
    match share {
        0.0 => "none".to_owned(),
        1.0 => "all".to_owned(),
        share => format!("{} %", share * 100.0),
    }
}

/// The lines of a part: `off`, and each share beside it. The target holds for the first share.
pub(super) fn figures<'a>(
    part: &str,
    off: &Tally,
    on: impl Iterator<Item = (f64, &'a Tally)>,
) -> Vec<Figure> {
    let middle = |rates: &[f64]| median(rates.to_vec()).unwrap_or_default();
    let line = |what: &str, share: f64| format!("{part}, {}: {what}", name(share));
    let (accepted, whole) = (middle(&off.accepted_rates), middle(&off.whole_rates));
    let micros = off.micros_without_collector();
    let slowest = off.accepted_rates.iter().copied().reduce(f64::min).unwrap_or_default();
    let mut all = vec![
        Figure::new(line("orders accepted", 0.0), Unit::PerSecond, accepted).used(&off.spent),
        Figure::new(line("the slowest slice", 0.0), Unit::PerSecond, slowest).against("the median", accepted),
        Figure::new(line("orders with all effects", 0.0), Unit::PerSecond, whole),
        Figure::new(line("processor time of an order", 0.0), Unit::Micros, micros),
    ];
    for (place, (share, tally)) in on.enumerate() {
        let aimed = |figure: Figure| if place == 0 { figure.target(KEPT) } else { figure };
        let rate = |what, rates: &[f64], reference| {
            let figure = Figure::new(line(what, share), Unit::PerSecond, middle(rates));
            aimed(figure.against("none", reference))
        };
        let collector = tally.spent.micros_per_event(|name| name == COLLECTOR);
        all.extend([
            rate("orders accepted", &tally.accepted_rates, accepted).used(&tally.spent),
            rate("orders with all effects", &tally.whole_rates, whole),
            Figure::new(
                line("processor time of an order", share),
                Unit::Micros,
                tally.micros_without_collector(),
            )
            .against("none", micros),
            Figure::new(line("Jaeger's processor time, of an order", share), Unit::Micros, collector),
            Figure::new(
                line("spans exported, of an order", share),
                Unit::Number,
                tally.per_order(tally.exported),
            ),
            Figure::new(
                line("spans dropped, of an order", share),
                Unit::Number,
                tally.per_order(tally.dropped),
            ),
        ]);
    }
    all
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::*;
    use crate::bench::report::Used;

    fn tally(rates: &[u64], exported: u64) -> Tally {
        let mut tally = Tally::default();
        for rate in rates {
            let used = |millis| Used { cpu: Duration::from_millis(millis), memory_mib: Some(1.0) };
            tally.add(Outcome {
                accepted: *rate,
                ordering: Duration::from_secs(1),
                whole: Duration::from_secs(2),
                spent: Spent {
                    wall: Duration::from_secs(2),
                    events: *rate,
                    processes: BTreeMap::from([("order-api", used(100)), ("jaeger", used(50))]),
                },
                exported,
                dropped: 0,
            });
        }
        tally
    }

    #[test]
    fn medians_are_compared_and_the_collector_stands_apart() {
        let (off, on) = (tally(&[100, 50, 110], 0), tally(&[95, 30, 96], 30));
        let figures = figures("sampled", &off, [(0.05, &on)].into_iter());
        let of = |what: &str| figures.iter().find(|figure| figure.what == what).unwrap();
        let accepted = of("sampled, 5 %: orders accepted");
        assert_eq!((accepted.result, accepted.ratio, accepted.is_met()), (95.0, Some(0.95), Some(true)));
        assert_eq!(of("sampled, 5 %: orders with all effects").ratio, Some(0.95));
        let micros = of("sampled, 5 %: processor time of an order").result;
        assert!((micros - 300e3 / 221.0).abs() < 1e-6, "{micros}");
        let micros = of("sampled, 5 %: Jaeger's processor time, of an order").result;
        assert!((micros - 150e3 / 221.0).abs() < 1e-6, "{micros}");
        assert_eq!(of("sampled, 5 %: spans exported, of an order").result, 90.0 / 221.0);
    }
}
