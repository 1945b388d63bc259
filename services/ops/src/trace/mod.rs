//! `ops trace`: the way of one order through the services, as its spans tell it.
//!
//! `jaeger` is the only part that asks somebody for spans. What is made of them is pure: `wire` reads them, `story` adds the batches that
//! lie in traces of their own, `tree` gives each span its row, `progress` says what is missing, `page` prints.

mod draw;
mod ink;
mod jaeger;
mod json;
mod measure;
mod notes;
mod order;
mod page;
mod progress;
#[cfg(test)]
mod sample;
mod settings;
mod span;
mod story;
mod terminal;
#[cfg(test)]
mod tests;
mod tree;
mod wait;
mod wire;

use std::process::ExitCode;

use anyhow::bail;

pub use order::Subject;
pub use settings::TraceSettings;

use jaeger::Jaeger;
use progress::Progress;
use wait::Seen;

/// Prints the trace. The exit status is 1 if it was waited for and is not complete.
pub(crate) async fn run(settings: &TraceSettings) -> anyhow::Result<ExitCode> {
    let trace = order::trace_of(&settings.subject, &settings.orders_database_url).await?;
    let jaeger = Jaeger::new(&settings.jaeger, jaeger::PATIENCE)?;
    let Seen { story, progress } = match settings.wait {
        Some(patience) => wait::until_complete(&jaeger, &trace, patience).await?,
        None => wait::look(&jaeger, &trace).await?,
    };
    let Some(story) = story else {
        bail!(
            "{} is not in Jaeger at {}: no span of trace {trace} has arrived yet, it was not sampled (OTEL_TRACES_SAMPLER_ARG), \
             the services send their spans elsewhere or nowhere (OTEL_EXPORTER_OTLP_ENDPOINT), or Jaeger has forgotten it",
            settings.subject,
            settings.jaeger
        )
    };
    if settings.json {
        println!("{}", json::json(&story)?);
        if !progress.is_complete() {
            eprintln!("{}", progress.verdict());
        }
    } else {
        let pages = settings.jaeger_pages.as_ref().unwrap_or(&settings.jaeger);
        let (colours, address) = (terminal::colours(), format!("{pages}/trace/{trace}"));
        let order = match settings.subject {
            Subject::Order(order) => Some(order),
            Subject::Trace(_) => None,
        };
        for line in page::page(&story, &progress, order, &address, terminal::width()) {
            println!("{}", line.render(colours));
        }
    }
    Ok(status(settings, &progress))
}

/// Whoever waited for it wants to know.
fn status(settings: &TraceSettings, progress: &Progress) -> ExitCode {
    match settings.wait {
        Some(_) if !progress.is_complete() => ExitCode::FAILURE,
        _ => ExitCode::SUCCESS,
    }
}
