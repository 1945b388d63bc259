//! `loadtest compare`: the baseline and the event-driven system, one after the other, on the same machine and database server and under the same
//! load. A run in which an accepted order is lost or doubled has failed; a figure that is not as expected has not.

mod connections;
mod found;
mod lines;
mod phases;
mod settings;
mod system;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context;
use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::load::journal::Ledger;
use crate::report::page::Page;
use crate::report::run::whole;
use crate::report::table::Table;
use crate::report::{self, plots};
use crate::usage::Machine;
use lines::Line;
use phases::{Findings, Phase};
use settings::Amounts;
pub use settings::Settings;
use system::System;

/// Everything that a comparison found.
#[derive(Debug, Serialize)]
struct Comparison {
    began: DateTime<Utc>,
    quick: bool,
    cores: usize,
    stolen_percent: Option<f64>,
    seconds: f64,
    lines: Vec<Line>,
    event_driven: Findings,
    baseline: Findings,
    /// Orders that are lost, doubled or without their effects, in sentences.
    wrong: Vec<String>,
}

/// Compares. The exit status is 1 if an order was lost or doubled, or something could not be measured.
pub async fn run(settings: Settings) -> ExitCode {
    match compare(&settings).await {
        Ok(comparison) => {
            println!("{}", comparison.text());
            if comparison.wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("loadtest: the comparison could not be finished: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn compare(settings: &Settings) -> anyhow::Result<Comparison> {
    let (at, began, machine) = (Utc::now(), Instant::now(), Machine::read());
    let amounts = Amounts::new(settings);
    eprintln!("  the baseline");
    let mut system = System::baseline(settings).await?;
    let (baseline, ledger) = phases::measure(&mut system, &amounts).await.context("the baseline")?;
    let mut wrong = found::orders(system.name, &system.database, &ledger).await?;
    system.stop().await?;
    eprintln!("  the event-driven system");
    let mut system = System::event_driven(settings).await?;
    let (event_driven, ledger) =
        phases::measure(&mut system, &amounts).await.context("the event-driven system")?;
    wrong.extend(audit(settings, &system, &ledger).await?);
    system.stop().await?;
    let comparison = Comparison {
        began: at,
        quick: settings.quick,
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        stolen_percent: machine.and_then(Machine::stolen_percent),
        seconds: began.elapsed().as_secs_f64(),
        lines: lines::lines(&event_driven, &baseline, amounts.rate),
        event_driven,
        baseline,
        wrong,
    };
    if let Some(file) = &settings.json {
        report::write_json(file, &comparison).await?;
    }
    if let Some(file) = &settings.report {
        report::write(file, &comparison.page().html()).await?;
        eprintln!("  {} shows it", file.display());
    }
    Ok(comparison)
}

async fn audit(settings: &Settings, system: &System, ledger: &Ledger) -> anyhow::Result<Vec<String>> {
    eprintln!("  auditing {} orders", whole(u64::try_from(ledger.accepted.len())?));
    let mut wrong = found::orders(system.name, &system.database, ledger).await?;
    wrong.extend(found::effects(&settings.system.programs.join("ops")).await?);
    Ok(wrong)
}

impl Comparison {
    fn head(&self) -> String {
        let form = if self.quick { ", the short form: not to be quoted" } else { "" };
        let stolen = self.stolen_percent;
        let stolen = stolen.map(|stolen| format!(", {stolen:.1} % of the processors' time taken by others"));
        format!("compare{form}: {} cores, {:.0} s{}", self.cores, self.seconds, stolen.unwrap_or_default())
    }

    fn verdict(&self) -> String {
        let Findings { accepted, in_doubt, .. } = &self.event_driven;
        let doubt = |in_doubt| {
            if in_doubt > 0 {
                format!(" ({} more got no clear answer)", whole(in_doubt))
            } else {
                String::new()
            }
        };
        if self.wrong.is_empty() {
            format!(
                "All {} orders that the event-driven system accepted are there with every effect once{}, and all {} of the baseline are there{}.",
                whole(*accepted),
                doubt(*in_doubt),
                whole(self.baseline.accepted),
                doubt(self.baseline.in_doubt)
            )
        } else {
            format!("FAILED: {}.", self.wrong.join("; "))
        }
    }

    fn reached(&self) -> Option<String> {
        let aimed = self.lines.iter().filter_map(|line| line.reached);
        let (all, reached) = (aimed.clone().count(), aimed.filter(|reached| *reached).count());
        (!self.quick).then(|| format!("{reached} of {all} expectations reached."))
    }

    fn text(&self) -> String {
        let mut text = format!("\n{}\n\n{}\n", self.head(), lines::table(&self.lines, !self.quick));
        text.push_str("Each process during the open loop:\n\n");
        text.push_str(&format!("{}\n", self.processes()));
        text.extend(self.reached().map(|line| format!("{line} ")));
        text + &self.verdict()
    }

    /// What each process used in the open loop.
    fn processes(&self) -> Table {
        let mut table = Table::new(&["process", "system", "cores", "CPU per request", "most memory"]);
        for (system, found) in [("event-driven", &self.event_driven), ("baseline", &self.baseline)] {
            let Some(run) = found.runs.get(&Phase::Open) else { continue };
            for mut row in run.resources().into_rows() {
                row.insert(1, system.to_owned());
                table.row(row);
            }
        }
        table
    }

    fn page(&self) -> Page {
        let mut page = Page::new("orderflow: events and a cache beside a caller who waits");
        page.text(&format!("{}. Began {}.", self.head(), self.began.format("%F %T UTC")));
        page.text(&self.verdict());
        page.text(&self.reached().unwrap_or_default());
        page.table(&lines::table(&self.lines, !self.quick));
        for phase in [Phase::Open, Phase::Thinking, Phase::Hurried, Phase::Reads] {
            let (Some(ours), Some(theirs)) =
                (self.event_driven.runs.get(&phase), self.baseline.runs.get(&phase))
            else {
                continue;
            };
            page.heading(&phase.to_string());
            page.text(&format!("Event-driven: {}.", ours.rates()));
            page.text(&format!("Baseline: {}.", theirs.rates()));
            let pairs = plots::plots(ours, Some("event-driven"))
                .into_iter()
                .zip(plots::plots(theirs, Some("baseline")));
            page.plots(&pairs.flat_map(|(ours, theirs)| [ours, theirs]).collect::<Vec<_>>());
        }
        page.heading("Processes during the open loop");
        page.table(&self.processes());
        page
    }
}
