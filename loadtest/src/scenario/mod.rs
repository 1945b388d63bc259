//! `loadtest load`: one scenario against a shop that runs.

pub mod course;
mod settings;

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};

use crate::load::drive::{Load, Users};
use crate::load::http::{Connection, Origin};
use crate::load::journal::Journal;
use crate::load::request::{Mix, Script};
use crate::load::schedule::Schedule;
use crate::report::page::Page;
use crate::report::run::Run;
use crate::report::{self, plots};
use course::{Course, Drive};
pub use settings::{Scenario, Settings, Think};

/// Product reads and orders as they come in a shop.
pub const MIX: Mix = Mix { products: 3, orders: 1 };

/// Makes the load and says what came of it. The exit status is 1 if there is no shop, or no request ended well.
pub async fn run(settings: Settings) -> ExitCode {
    match load(&settings).await {
        Ok(run) => {
            println!("{run}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("loadtest: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn load(settings: &Settings) -> anyhow::Result<Run> {
    let origin = Origin::resolve(&settings.url).await?;
    let mut first = Connection::new(origin.clone(), settings.timeout);
    if let Err(failure) = first.get("/api/product/1").await {
        bail!("nobody answers at {} ({failure}): ./dev up starts the shop", settings.url);
    }
    let course = course(settings, origin);
    eprintln!("{}", course.title);
    let run = course.run().await?;
    write(settings, &run).await?;
    if run.requests > 0 && run.good_per_second == 0.0 {
        let errors: Vec<_> = run.errors.iter().map(|(error, count)| format!("{count} {error}")).collect();
        bail!("no request ended well: {}", errors.join(", "));
    }
    Ok(run)
}

fn course(settings: &Settings, origin: Origin) -> Course {
    let Settings { scenario, duration, seed, timeout, in_flight, .. } = settings;
    let mix = match scenario {
        Scenario::Products => Mix { products: 1, orders: 0 },
        Scenario::Orders => Mix { products: 0, orders: 1 },
        Scenario::Mix | Scenario::Spike => MIX,
    };
    let open = |schedule| Drive::Open { schedule, in_flight: *in_flight };
    let (drive, how) = match (scenario, settings.rate()) {
        (Scenario::Spike, Some(rate)) => {
            let times = settings.times;
            let how = format!("{rate} requests/s, {times} times as many in the middle third");
            (open(Schedule::spike(rate, times, *duration)), how)
        }
        (_, Some(rate)) => (open(Schedule::constant(rate, *duration)), format!("{rate} requests/s")),
        (_, None) => {
            let users = Users { count: settings.users, ramp: settings.ramp, think: settings.think.0 };
            let how = format!(
                "{} users, {} more each second, thinking {}",
                users.count, users.ramp, settings.think
            );
            (Drive::Closed { users, length: *duration }, how)
        }
    };
    let journal = Arc::new(Journal::default());
    let script = Arc::new(Script::new(mix, *seed));
    Course {
        title: format!("{scenario}: {how}, for {duration:?}, at {}", settings.url),
        load: Load { origin, script, seed: *seed, timeout: *timeout, journal },
        drive,
        warm_up: settings.warm_up,
        processes: settings.process.clone(),
        progress: true,
    }
}

async fn write(settings: &Settings, run: &Run) -> anyhow::Result<()> {
    if let Some(file) = &settings.json {
        report::write_json(file, run).await?;
    }
    if let Some(file) = &settings.report {
        report::write(file, &page(run).html()).await.context("no report")?;
        eprintln!("{} shows it", file.display());
    }
    Ok(())
}

fn page(run: &Run) -> Page {
    let mut page = Page::new("orderflow under load");
    page.text(&run.title);
    page.text(&format!("{}. Began {}.", run.rates(), run.began.format("%F %T UTC")));
    page.table(&run.latencies());
    page.table(&run.outcomes());
    page.heading("Second by second");
    page.plots(&plots::plots(run, None));
    if !run.processes.is_empty() {
        page.heading("Processes");
        page.table(&run.resources());
    }
    page
}

#[cfg(test)]
mod tests;
