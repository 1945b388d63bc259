//! What reaches the log and what reaches the tracer.

use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Context, Filter};

/// Spans of level info and above. They carry the request id and the trace, whatever level is logged.
fn is_kept(metadata: &Metadata<'_>) -> bool {
    metadata.is_span() && *metadata.level() <= Level::INFO
}

/// The interest in a span that is kept: asked about each time. A filter of a single layer notes its last answer for the thread, and who asks whether
/// something would be logged and then logs nothing, as sqlx does, leaves one behind; it would be taken for the answer about a span that is never
/// asked about.
fn each_time() -> Interest {
    Interest::sometimes()
}

/// Filter of the tracer: it wants spans, and no copy of the log.
pub(crate) struct OnlySpans;

impl<S> Filter<S> for OnlySpans {
    fn enabled(&self, metadata: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        is_kept(metadata)
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        if is_kept(metadata) { each_time() } else { Interest::never() }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::INFO)
    }
}

/// Filter of the log: events by the operator's setting, spans always. Without it a quiet log would also lose the request id of
/// the few lines it has.
pub(crate) struct EventsBy(pub(crate) EnvFilter);

impl<S: Subscriber> Filter<S> for EventsBy {
    fn enabled(&self, metadata: &Metadata<'_>, context: &Context<'_, S>) -> bool {
        is_kept(metadata) || Filter::enabled(&self.0, metadata, context)
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        // The inner filter must see every call site, since it notes those it has span rules for.
        let interest = Filter::<S>::callsite_enabled(&self.0, metadata);
        if is_kept(metadata) { each_time() } else { interest }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Filter::<S>::max_level_hint(&self.0).map(|level| level.max(LevelFilter::INFO))
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        Filter::on_new_span(&self.0, attributes, id, context);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        Filter::on_record(&self.0, id, values, context);
    }

    fn on_enter(&self, id: &Id, context: Context<'_, S>) {
        Filter::on_enter(&self.0, id, context);
    }

    fn on_exit(&self, id: &Id, context: Context<'_, S>) {
        Filter::on_exit(&self.0, id, context);
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        Filter::on_close(&self.0, id, context);
    }
}
