//! What the audit says: a table for people, JSON for machines.

use std::fmt;

use chrono::{DateTime, SecondsFormat, Utc};
use contracts::Money;
use serde::Serialize;

use super::compare::{Kind, Orders, Stage};

/// The result of an audit. The names of the fields are those of the JSON and stay; fields may be added.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// No stage has a finding.
    pub clean: bool,
    /// Orders accepted at this time or later were audited; `null`: from the first.
    pub since: Option<DateTime<Utc>>,
    /// Orders accepted at this time or earlier were audited.
    pub until: DateTime<Utc>,
    /// What they add up to.
    pub accepted: AcceptedTotals,
    /// A row for each stage.
    pub stages: Vec<Stage>,
    /// What a reader should know about the rows.
    pub notes: Vec<String>,
    /// What this audit did not look at.
    pub not_checked: Vec<String>,
}

/// The audited orders in sum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct AcceptedTotals {
    /// How many.
    pub orders: u64,
    /// How many events they have.
    pub events: u64,
    /// What they cost, in cents.
    pub revenue_cents: i64,
}

impl AcceptedTotals {
    pub(super) fn of(orders: &Orders) -> Self {
        orders.all().iter().fold(Self::default(), |sum, order| Self {
            orders: sum.orders + 1,
            events: sum.events + order.events.max(0).cast_unsigned(),
            revenue_cents: sum.revenue_cents + order.revenue_cents,
        })
    }
}

impl Report {
    pub(super) fn new(
        (since, until): (Option<DateTime<Utc>>, DateTime<Utc>),
        accepted: AcceptedTotals,
        stages: Vec<Stage>,
        notes: Vec<String>,
        not_checked: Vec<String>,
    ) -> Self {
        let clean = stages.iter().all(|stage| stage.findings() == 0);
        Self { clean, since, until, accepted, stages, notes, not_checked }
    }

    /// The row of a stage, if it was checked.
    pub fn stage(&self, name: &str) -> Option<&Stage> {
        self.stages.iter().find(|stage| stage.stage == name)
    }

    /// The report as one JSON object over several lines.
    pub fn json(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(self)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let until = self.until.to_rfc3339_opts(SecondsFormat::Secs, true);
        let AcceptedTotals { orders, events, revenue_cents } = self.accepted;
        let revenue = Money::from_cents(revenue_cents)
            .map_or_else(|_| format!("{revenue_cents} cents"), |revenue| revenue.to_string());
        write!(f, "{orders} orders with {events} events for {revenue}, accepted ")?;
        if let Some(since) = self.since {
            write!(f, "since {} and ", since.to_rfc3339_opts(SecondsFormat::Secs, true))?;
        }
        writeln!(f, "until {until}\n")?;

        writeln!(
            f,
            "{:<15} {:>9} {:<8} | {:>8} {:>8} {:>12} | {:>9} {:>8} {:>8} {:>12}",
            "",
            "checked",
            "",
            "missing",
            "doubled",
            "out of order",
            "repeated",
            "waiting",
            "skipped",
            "out of sight"
        )?;
        for s in &self.stages {
            writeln!(
                f,
                "{:<15} {:>9} {:<8} | {:>8} {:>8} {:>12} | {:>9} {:>8} {:>8} {:>12}",
                s.stage,
                s.checked,
                s.of,
                s.missing,
                s.doubled,
                s.out_of_order,
                s.repeated,
                s.waiting,
                s.skipped,
                s.out_of_sight
            )?;
        }
        self.examples(f)?;
        for note in &self.notes {
            writeln!(f, "\nNote: {note}.")?;
        }
        for what in &self.not_checked {
            writeln!(f, "\nNot checked: {what}.")?;
        }
        let findings: u64 = self.stages.iter().map(Stage::findings).sum();
        let waiting = self.stages.iter().map(|stage| stage.waiting).max().unwrap_or_default();
        match (findings, waiting) {
            (0, 0) => write!(f, "\nClean: nothing missing, nothing doubled, nothing out of order."),
            (0, _) => write!(f, "\nClean so far: some of it waits."),
            _ => write!(f, "\nNOT CLEAN: {findings} findings."),
        }
    }
}

impl Report {
    fn examples(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for stage in self.stages.iter().filter(|stage| !stage.examples.is_empty()) {
            writeln!(f, "\n{}", stage.stage)?;
            for example in &stage.examples {
                writeln!(f, "  {:<13} {}: {}", name(example.column), example.subject, example.detail)?;
            }
        }
        Ok(())
    }
}

fn name(column: Kind) -> &'static str {
    match column {
        Kind::Missing => "missing",
        Kind::Doubled => "doubled",
        Kind::OutOfOrder => "out of order",
        Kind::Repeated => "repeated",
        Kind::Waiting => "waiting",
        Kind::Skipped => "skipped",
    }
}
