//! `loadtest figures`: the main figures of the last minutes as one SVG.
//!
//! What is asked for stands in the Grafana dashboards and is taken from there, so that a figure and the dashboard cannot say different things.
//! `prometheus` is the only part that asks somebody; `panels` says what is drawn, `scale` and `clock` where the lines of the axes are, `svg` draws.

mod clock;
mod dashboards;
mod panels;
mod prometheus;
mod scale;
mod series;
mod svg;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use chrono::{DateTime, Utc};
use futures::future::try_join_all;

pub(crate) use panels::{Panel, Side, Unit};
pub(crate) use series::{Series, Window};
pub(crate) use svg::{STYLE, drawing, escaped};

use panels::{Axis, PANELS};
use prometheus::Prometheus;
use series::distinct;

/// What to draw, from whom, and where to.
#[derive(Clone, clap::Args)]
pub struct Settings {
    /// The picture
    #[arg(value_name = "FILE.svg")]
    file: PathBuf,
    /// How many minutes it shows
    #[arg(long, value_name = "NUMBER", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=10_080))]
    minutes: u32,
    /// Where they end, such as 2026-11-22T12:00:00Z; without it they end now
    #[arg(long, value_name = "TIME")]
    until: Option<DateTime<Utc>>,
    /// Which Prometheus to ask
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9090", overrides_with = "prometheus")]
    prometheus: String,
}

/// Draws. The exit status is 1 if there is nothing to draw or nobody to ask.
pub async fn run(settings: Settings) -> ExitCode {
    match draw(&settings).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("loadtest: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn draw(settings: &Settings) -> anyhow::Result<()> {
    let until = settings.until.unwrap_or_else(Utc::now);
    let window = Window::new(until, settings.minutes);
    let prometheus = Prometheus::new(&settings.prometheus)?;
    let panels = try_join_all(PANELS.iter().map(|panel| measured(panel, &prometheus, window))).await?;
    if panels.iter().all(Panel::is_empty) {
        bail!(
            "Prometheus at {url} has measured nothing of orderflow in the {minutes} minutes until {until}. {url}/targets says whom it asks and what \
             came of it, ./dev status what runs; --minutes and --until show another time",
            url = settings.prometheus,
            minutes = settings.minutes,
            until = until.format("%F %T UTC"),
        )
    }
    let file = &settings.file;
    tokio::fs::write(file, svg::page(&panels, window))
        .await
        .with_context(|| format!("{} cannot be written", file.display()))?;
    println!("{} shows the {} minutes until {}", file.display(), settings.minutes, window.until());
    Ok(())
}

/// A panel with what was measured.
async fn measured(panel: &panels::Plan, prometheus: &Prometheus, window: Window) -> anyhow::Result<Panel> {
    let right = match &panel.right {
        Some(axis) => Some(side(axis, prometheus, window).await?),
        None => None,
    };
    Ok(Panel { title: panel.title.into(), left: side(&panel.left, prometheus, window).await?, right })
}

async fn side(axis: &Axis, prometheus: &Prometheus, window: Window) -> anyhow::Result<Side> {
    let mut curves: Vec<Series> = Vec::new();
    for source in axis.sources {
        for query in source.queries()? {
            let found = prometheus.query_range(&query, window).await?;
            curves.extend(found.into_iter().filter(|series| !source.quiet || !series.is_zero()));
        }
    }
    Ok(Side { unit: axis.unit, curves: distinct(curves) })
}
