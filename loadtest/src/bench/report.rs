//! What a benchmark found, as a table and as JSON.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Display, Write as _};
use std::time::Duration;

use serde::Serialize;

/// A line of the table: one figure beside its target and its reference.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figure {
    /// What was measured.
    pub what: String,
    /// What the numbers count.
    pub unit: Unit,
    /// What is aimed at, if anything is.
    pub target: Option<Target>,
    /// What came out.
    pub result: f64,
    /// The same work by something else, in the same run.
    pub reference: Option<Reference>,
    /// Result over reference.
    pub ratio: Option<f64>,
    /// Processor time while it was measured, in microseconds per event, of each process.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub cpu_us_per_event: BTreeMap<&'static str, f64>,
    /// Processor time while it was measured, in cores, of each process.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub cores: BTreeMap<&'static str, f64>,
    /// Most memory that was resident until then, in MiB, of each process.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub memory_mib: BTreeMap<&'static str, f64>,
}

/// What a figure counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Unit {
    /// Events, rows or records per second.
    #[serde(rename = "per second")]
    PerSecond,
    /// Milliseconds.
    #[serde(rename = "ms")]
    Millis,
    /// Seconds.
    #[serde(rename = "s")]
    Seconds,
    /// Microseconds.
    #[serde(rename = "us")]
    Micros,
    /// Processor cores.
    #[serde(rename = "cores")]
    Cores,
    /// Memory.
    #[serde(rename = "MiB")]
    Mebibytes,
    /// So many of what the line says.
    #[serde(rename = "number")]
    Number,
    /// A share: 1 is the whole.
    #[serde(rename = "ratio")]
    Ratio,
}

/// What is aimed at.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// The result is to be this or more.
    AtLeast(f64),
    /// The result is to be this or less.
    AtMost(f64),
    /// The ratio to the reference is to be this or more.
    RatioAtLeast(f64),
    /// The ratio to the reference is to be this or less.
    RatioAtMost(f64),
}

/// What a result is compared with.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Reference {
    /// What it is.
    pub what: String,
    /// Its figure, in the unit of the result.
    pub value: f64,
}

impl Figure {
    /// A figure without a target or a reference.
    pub fn new(what: impl Into<String>, unit: Unit, result: f64) -> Self {
        Self {
            what: what.into(),
            unit,
            target: None,
            result,
            reference: None,
            ratio: None,
            cpu_us_per_event: BTreeMap::new(),
            cores: BTreeMap::new(),
            memory_mib: BTreeMap::new(),
        }
    }

    /// Sets what is aimed at.
    #[must_use]
    pub fn target(self, target: Target) -> Self {
        Self { target: Some(target), ..self }
    }

    /// Sets what it is compared with.
    #[must_use]
    pub fn against(self, what: impl Into<String>, value: f64) -> Self {
        let ratio = (value > 0.0).then(|| self.result / value);
        Self { reference: Some(Reference { what: what.into(), value }), ratio, ..self }
    }

    /// Adds what the processes used.
    #[must_use]
    pub fn used(mut self, spent: &Spent) -> Self {
        let events = spent.events;
        for (name, used) in &spent.processes {
            if events > 0 {
                let micros = used.cpu.as_secs_f64() * 1e6 / events as f64;
                self.cpu_us_per_event.insert(name, micros);
            }
            self.cores.insert(name, used.cpu.as_secs_f64() / spent.wall.as_secs_f64().max(1e-9));
            if let Some(memory) = used.memory_mib {
                self.memory_mib.insert(name, memory);
            }
        }
        self
    }

    /// Whether the target was reached; `None` without one.
    pub fn is_met(&self) -> Option<bool> {
        Some(match self.target? {
            Target::AtLeast(target) => self.result >= target,
            Target::AtMost(target) => self.result <= target,
            Target::RatioAtLeast(target) => self.ratio? >= target,
            Target::RatioAtMost(target) => self.ratio? <= target,
        })
    }
}

/// What processes used while something was measured.
#[derive(Clone, Debug, Default)]
pub struct Spent {
    /// How long that was.
    pub wall: Duration,
    /// Events that came of it.
    pub events: u64,
    /// Each process by its name.
    pub processes: BTreeMap<&'static str, Used>,
}

impl Spent {
    /// Adds what was spent on more of the same.
    pub fn add(&mut self, more: &Self) {
        self.wall += more.wall;
        self.events += more.events;
        for (name, used) in &more.processes {
            let all = self.processes.entry(name).or_default();
            all.cpu += used.cpu;
            all.memory_mib = [all.memory_mib, used.memory_mib].into_iter().flatten().reduce(f64::max);
        }
    }

    /// Processor time per event of the processes that `count`, in microseconds. 0 if there was no event.
    pub fn micros_per_event(&self, count: impl Fn(&str) -> bool) -> f64 {
        let cpu: Duration =
            self.processes.iter().filter(|(name, _)| count(name)).map(|(_, used)| used.cpu).sum();
        if self.events == 0 { 0.0 } else { cpu.as_secs_f64() * 1e6 / self.events as f64 }
    }
}

/// What one process used.
#[derive(Clone, Copy, Debug, Default)]
pub struct Used {
    /// Processor time, of its children too.
    pub cpu: Duration,
    /// Most memory that was resident since it began, in MiB; not known of processes that share much of theirs.
    pub memory_mib: Option<f64>,
}

/// Everything that a run found.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// `relay`, `consumer` or `tracing`.
    pub bench: &'static str,
    /// The short form: enough to see that it works, too little to quote.
    pub quick: bool,
    /// When it ended, in UTC.
    pub at: String,
    /// Processor, memory and kernel, as the machine names them.
    pub machine: String,
    /// The commit and the versions, as far as the caller said them.
    pub about: BTreeMap<String, String>,
    /// Cores that the machine says it has.
    pub cores: usize,
    /// Part of the processors' time that the machine below took for others while the benchmark ran, in percent.
    pub stolen_percent: Option<f64>,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// The lines, in the order in which they were measured.
    pub figures: Vec<Figure>,
}

impl Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let form = if self.quick { ", the short form: not to be quoted" } else { "" };
        write!(f, "\nbench {}{form}: {} cores, {:.0} s", self.bench, self.cores, self.seconds)?;
        if let Some(stolen) = self.stolen_percent {
            write!(f, ", {stolen:.1} % of the processors' time taken by others")?;
        }
        writeln!(f, "\n")?;
        table(f, &self.lines())?;
        let used = self.used();
        if used.len() > 1 {
            writeln!(f)?;
            table(f, &used)?;
        }
        let missed = self.figures.iter().filter(|figure| figure.is_met() == Some(false)).count();
        let aimed = self.figures.iter().filter(|figure| figure.is_met().is_some()).count();
        if aimed > 0 {
            write!(f, "\n{} of {aimed} targets reached.", aimed - missed)?;
        }
        Ok(())
    }
}

impl Report {
    fn lines(&self) -> Vec<Vec<String>> {
        let head = ["", "target", "result", "", "reference", "ratio", ""].map(str::to_owned).to_vec();
        let line = |figure: &Figure| {
            let met = match figure.is_met() {
                Some(true) => "reached",
                Some(false) => "missed",
                None => "",
            };
            vec![
                figure.what.clone(),
                figure.target.map(|target| target.to_string()).unwrap_or_default(),
                number(figure.result),
                figure.unit.to_string(),
                figure
                    .reference
                    .as_ref()
                    .map(|reference| format!("{}: {}", reference.what, number(reference.value)))
                    .unwrap_or_default(),
                figure.ratio.map(|ratio| format!("{ratio:.3}")).unwrap_or_default(),
                met.to_owned(),
            ]
        };
        std::iter::once(head).chain(self.figures.iter().map(line)).collect()
    }

    fn used(&self) -> Vec<Vec<String>> {
        if self.figures.iter().any(|figure| figure.cores.len() > FEW) {
            return self.used_by_process();
        }
        let head = ["", "CPU per event", "cores", "memory"].map(str::to_owned).to_vec();
        let listed = |values: &BTreeMap<&'static str, f64>, unit: &str, digits: usize| {
            let each: Vec<String> =
                values.iter().map(|(name, value)| format!("{name} {value:.digits$}{unit}")).collect();
            each.join(", ")
        };
        let line = |figure: &Figure| {
            vec![
                figure.what.clone(),
                listed(&figure.cpu_us_per_event, " us", 1),
                listed(&figure.cores, "", 2),
                listed(&figure.memory_mib, " MiB", 0),
            ]
        };
        let used = self.figures.iter().filter(|figure| !figure.cores.is_empty());
        std::iter::once(head).chain(used.map(line)).collect()
    }

    /// Many processes: a line for each, and a column for each figure.
    fn used_by_process(&self) -> Vec<Vec<String>> {
        let figures: Vec<&Figure> = self.figures.iter().filter(|figure| !figure.cores.is_empty()).collect();
        let names: BTreeSet<&str> = figures.iter().flat_map(|figure| figure.cores.keys().copied()).collect();
        let head = figures.iter().map(|figure| figure.what.split(':').next().unwrap_or_default().to_owned());
        let head = std::iter::once("CPU per event, memory".to_owned()).chain(head).collect();
        let line = |name: &str| {
            let cell = |figure: &&Figure| {
                let cpu = figure.cpu_us_per_event.get(name).map(|cpu| format!("{cpu:.0} us"));
                let memory = figure.memory_mib.get(name).map(|memory| format!("{memory:.0} MiB"));
                cpu.into_iter().chain(memory).collect::<Vec<_>>().join(", ")
            };
            std::iter::once(name.to_owned()).chain(figures.iter().map(cell)).collect()
        };
        std::iter::once(head).chain(names.into_iter().map(line)).collect()
    }
}

/// So many processes fit in a line.
const FEW: usize = 5;

/// As it is read most easily.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        large if large >= 1000.0 => {
            let mut text = format!("{value:.0}");
            let mut place = text.len();
            while place > 3 + usize::from(value < 0.0) {
                place -= 3;
                text.insert(place, ',');
            }
            text
        }
        middle if middle >= 100.0 => format!("{value:.0}"),
        small if small >= 10.0 => format!("{value:.1}"),
        // A process with nothing to do uses thousandths of a core.
        tiny if tiny > 0.0 && tiny < 0.1 => format!("{value:.3}"),
        _ => format!("{value:.2}"),
    }
}

/// Columns as wide as their longest cell; numbers would be easier to compare on the right, names are easier to find on the left.
fn table(f: &mut fmt::Formatter<'_>, lines: &[Vec<String>]) -> fmt::Result {
    let columns = lines.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for line in lines {
        let mut text = String::new();
        for (cell, width) in line.iter().zip(&widths) {
            write!(text, "{cell:<width$}  ")?;
        }
        writeln!(f, "{}", text.trim_end())?;
    }
    Ok(())
}

impl Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PerSecond => "/s",
            Self::Millis => "ms",
            Self::Seconds => "s",
            Self::Micros => "us",
            Self::Cores => "cores",
            Self::Mebibytes => "MiB",
            Self::Number | Self::Ratio => "",
        })
    }
}

impl Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtLeast(target) => write!(f, ">= {}", number(*target)),
            Self::AtMost(target) => write!(f, "<= {}", number(*target)),
            Self::RatioAtLeast(target) => write!(f, ">= {target} of it"),
            Self::RatioAtMost(target) => write!(f, "<= {target} of it"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(figures: Vec<Figure>) -> Report {
        Report {
            bench: "relay",
            quick: false,
            at: "2026-01-31T12:00:00Z".to_owned(),
            machine: "a processor".to_owned(),
            about: BTreeMap::new(),
            cores: 2,
            stolen_percent: Some(1.25),
            seconds: 61.0,
            figures,
        }
    }

    #[test]
    fn a_target_is_about_the_result_or_about_its_ratio_to_the_reference() {
        let figure =
            |target| Figure::new("x", Unit::PerSecond, 90.0).against("y", 100.0).target(target).is_met();
        assert_eq!(figure(Target::AtLeast(90.0)), Some(true));
        assert_eq!(figure(Target::AtMost(89.0)), Some(false));
        assert_eq!(figure(Target::RatioAtLeast(0.9)), Some(true));
        assert_eq!(figure(Target::RatioAtMost(0.8)), Some(false));
        assert_eq!(Figure::new("x", Unit::Millis, 1.0).is_met(), None);
    }

    #[test]
    fn the_table_says_what_was_aimed_at_what_came_out_and_what_it_is_compared_with() {
        let spent = Spent {
            wall: Duration::from_secs(2),
            events: 100_000,
            processes: BTreeMap::from([(
                "relay",
                Used { cpu: Duration::from_secs(1), memory_mib: Some(27.4) },
            )]),
        };
        let figure = Figure::new("drain", Unit::PerSecond, 50_000.0)
            .target(Target::AtLeast(40_000.0))
            .against("producer", 100_000.0)
            .used(&spent);
        let missed = Figure::new("latency", Unit::Millis, 5.25).target(Target::AtMost(4.0));
        let text = report(vec![figure, missed]).to_string();
        for part in [
            "drain    >= 40,000  50,000  /s  producer: 100,000  0.500  reached",
            "latency  <= 4.00    5.25    ms",
            "missed",
            "relay 10.0 us",
            "relay 0.50",
            "relay 27 MiB",
            "1.2 % of the processors' time",
            "1 of 2 targets reached.",
        ] {
            assert!(text.contains(part), "no `{part}` in\n{text}");
        }
    }

    #[test]
    fn many_processes_have_a_line_each() {
        let used = Used { cpu: Duration::from_secs(1), memory_mib: Some(27.4) };
        let processes = ["a", "b", "c", "d", "e", "f"].map(|name| (name, used)).into();
        let spent = Spent { wall: Duration::from_secs(2), events: 1_000, processes };
        let figures = ["none: orders", "all: orders"];
        let text = report(figures.map(|what| Figure::new(what, Unit::PerSecond, 1.0).used(&spent)).into())
            .to_string();
        for part in ["CPU per event, memory  none", "f                      1000 us, 27 MiB  1000 us, 27 MiB"]
        {
            assert!(text.contains(part), "no `{part}` in\n{text}");
        }
    }

    #[test]
    fn the_json_has_every_number_of_the_table() {
        let figure =
            Figure::new("drain", Unit::PerSecond, 1.5).target(Target::AtLeast(1.0)).against("y", 3.0);
        let json = serde_json::to_value(report(vec![figure])).unwrap();
        let figure = &json["figures"][0];
        assert_eq!(figure["unit"], "per second");
        assert_eq!(figure["target"]["at_least"], 1.0);
        assert_eq!(figure["reference"]["value"], 3.0);
        assert_eq!(figure["ratio"], 0.5);
    }
}
