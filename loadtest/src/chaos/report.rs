//! What a run came to: a table for people and a verdict.

use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::time::Duration;

use serde::Deserialize;

use super::storm::Toll;
use super::target::Target;

/// One row of the comparison. The fields are those of a stage of `ops audit --json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Row {
    /// What was compared.
    pub stage: String,
    /// What one unit is.
    pub of: String,
    /// How many there should be.
    pub checked: u64,
    /// Accepted and not there.
    pub missing: u64,
    /// There more than once, or for no reason.
    pub doubled: u64,
    /// First occurrences in the wrong order.
    pub out_of_order: u64,
    /// Sent again and recognised: no finding.
    pub repeated: u64,
    /// Not there yet. Everything is up at the end and had its time, so that is a finding of a chaos run.
    pub waiting: u64,
    /// Left out by an operator; there is none in a chaos run.
    #[serde(default)]
    pub skipped: u64,
    /// The first cases of each column.
    #[serde(default)]
    pub examples: Vec<Example>,
}

/// One case.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Example {
    /// The column: `missing`, `repeated`, ..
    pub column: String,
    /// The order or key concerned.
    pub subject: String,
    /// What is known about it.
    pub detail: String,
}

impl Example {
    /// A case of `column`.
    pub fn new(column: &str, subject: impl Display, detail: String) -> Self {
        Self { column: column.to_owned(), subject: subject.to_string(), detail }
    }
}

impl Row {
    /// Examples of a column that are shown.
    const SHOWN: usize = 10;

    /// An empty row.
    pub fn new(stage: &str, of: &str) -> Self {
        Self { stage: stage.to_owned(), of: of.to_owned(), ..Self::default() }
    }

    /// Adds a case, while there is room for one of that column.
    pub fn example(&mut self, column: &str, subject: impl Display, detail: String) {
        if self.examples.iter().filter(|known| known.column == column).count() < Self::SHOWN {
            self.examples.push(Example::new(column, subject, detail));
        }
    }

    /// What makes the run fail.
    pub fn findings(&self) -> u64 {
        self.missing + self.doubled + self.out_of_order + self.waiting + self.skipped
    }
}

/// The load, as its clients saw it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Load {
    /// Orders sent.
    pub sent: usize,
    /// Orders that a client was told to stand.
    pub accepted: usize,
    /// Requests for orders, repeats included.
    pub requests: u64,
    /// Orders with at least one request whose outcome its client did not know.
    pub unknown: usize,
    /// Of those: orders that an earlier request had made.
    pub replayed: usize,
    /// The most requests for one order.
    pub most_attempts: u32,
    /// Product reads, and how many of them failed while servers were away.
    pub reads: u64,
    /// See `reads`.
    pub failed_reads: u64,
}

/// A finished run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// What makes the run again.
    pub seed: u64,
    /// From the first fault to the end of the last.
    pub length: Duration,
    /// What was done to whom.
    pub tolls: BTreeMap<Target, Toll>,
    /// What was sent meanwhile.
    pub load: Load,
    /// The comparison.
    pub rows: Vec<Row>,
    /// Other findings, a sentence each.
    pub findings: Vec<String>,
    /// What a reader should know beside.
    pub notes: Vec<String>,
}

impl Report {
    /// Whether everything that was accepted had its effect once and in order.
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty() && self.rows.iter().all(|row| row.findings() == 0)
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seed, seconds) = (self.seed, self.length.as_secs());
        let sum = |count: fn(&Toll) -> u32| self.tolls.values().map(count).sum::<u32>();
        writeln!(
            f,
            "\nSeed {seed}: {} kills, {} freezes ({} past every lease) and {} restarts in {seconds} s.\n",
            sum(|toll| toll.kills),
            sum(|toll| toll.freezes),
            sum(|toll| toll.past_a_lease),
            sum(|toll| toll.restarts),
        )?;
        writeln!(f, "{:<20} {:>6} {:>8} {:>9} {:>9}", "", "kills", "freezes", "restarts", "away")?;
        for (target, toll) in &self.tolls {
            let away = toll.away.as_secs_f64();
            writeln!(
                f,
                "{target:<20} {:>6} {:>8} {:>9} {away:>7.1} s",
                toll.kills, toll.freezes, toll.restarts
            )?;
        }
        self.load(f)?;
        writeln!(
            f,
            "{:<15} {:>8} {:<9} | {:>8} {:>8} {:>12} {:>8} | {:>9}",
            "", "checked", "", "missing", "doubled", "out of order", "waiting", "repeated"
        )?;
        for row in &self.rows {
            writeln!(
                f,
                "{:<15} {:>8} {:<9} | {:>8} {:>8} {:>12} {:>8} | {:>9}",
                row.stage,
                row.checked,
                row.of,
                row.missing,
                row.doubled,
                row.out_of_order,
                row.waiting,
                row.repeated
            )?;
        }
        self.examples(f, "Repeats, each with the key it carried", |column| column == "repeated")?;
        self.examples(f, "Findings", |column| column != "repeated")?;
        for note in &self.notes {
            writeln!(f, "\nNote: {note}.")?;
        }
        for finding in &self.findings {
            writeln!(f, "\nFinding: {finding}.")?;
        }
        if self.is_clean() {
            write!(
                f,
                "\nClean: nothing missing, nothing doubled, nothing out of order, nothing left waiting."
            )
        } else {
            write!(f, "\nNOT CLEAN. ./dev chaos --seed {seed} does the same to the system again.")
        }
    }
}

impl Report {
    fn load(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Load { sent, accepted, requests, unknown, replayed, most_attempts, reads, failed_reads } =
            &self.load;
        writeln!(
            f,
            "\n{sent} orders sent with {requests} requests, {accepted} accepted. The outcome of {unknown} was unknown at first; \
             repeated under their keys, at most {most_attempts} requests each, {replayed} of them turned out to stand already."
        )?;
        writeln!(f, "{reads} product reads, {failed_reads} of them failed while servers were away.\n")
    }

    fn examples(&self, f: &mut fmt::Formatter<'_>, title: &str, wanted: fn(&str) -> bool) -> fmt::Result {
        let mut title = Some(title);
        for row in &self.rows {
            for Example { column, subject, detail } in row.examples.iter().filter(|case| wanted(&case.column))
            {
                if let Some(title) = title.take() {
                    writeln!(f, "\n{title} (of each row the first few):")?;
                }
                writeln!(f, "  {:<15} {:<12} {subject}: {detail}", row.stage, column.replace('_', " "))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_clean_only_without_findings_of_any_kind() {
        let with = |change: fn(&mut Row)| {
            let mut row = Row::new("email", "orders");
            change(&mut row);
            Report { rows: vec![row], ..Report::default() }.is_clean()
        };
        assert!(with(|_| ()));
        assert!(with(|row| row.repeated = 3));
        assert!(!with(|row| row.missing = 1));
        assert!(!with(|row| row.doubled = 1));
        assert!(!with(|row| row.out_of_order = 1));
        assert!(!with(|row| row.waiting = 1));
        assert!(!with(|row| row.skipped = 1));
        assert!(!Report { findings: vec!["something".to_owned()], ..Report::default() }.is_clean());
    }

    #[test]
    fn the_text_names_the_seed_the_verdict_and_the_keys_of_repeats() {
        let mut row = Row::new("email-provider", "orders");
        row.repeated = 1;
        row.example("repeated", "order-1", "key-1".to_owned());
        let report = Report { seed: 42, rows: vec![row], ..Report::default() };
        let text = report.to_string();
        assert!(text.contains("Seed 42") && text.contains("order-1: key-1"), "{text}");
        assert!(text.trim_end().ends_with("nothing left waiting."), "{text}");
        let report = Report { findings: vec!["x".to_owned()], ..report };
        assert!(report.to_string().contains("NOT CLEAN. ./dev chaos --seed 42"));
    }
}
