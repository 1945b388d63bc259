//! One JSON object per line and event.

use std::error::Error;
use std::fmt::Debug;
use std::io::Write;

use chrono::{SecondsFormat, Utc};
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use crate::context::current_ids;

/// Writes events, with the fields of the spans around them flattened in. Where names meet, the inner one wins, and nothing replaces
/// the fields that every line has.
pub(crate) struct JsonLines<W> {
    service_name: &'static str,
    writer: W,
}

/// The fields of a span, kept in its extensions. A list: most spans are never asked for theirs.
struct Fields(Vec<(&'static str, Value)>);

impl<W> JsonLines<W> {
    pub(crate) fn new(service_name: &'static str, writer: W) -> Self {
        Self { service_name, writer }
    }
}

impl<S, W> Layer<S> for JsonLines<W>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + 'static,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Vec::new();
        attributes.record(&mut Collect(&mut fields));
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(Fields(fields));
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(Fields(fields)) = span.extensions_mut().get_mut()
        {
            let mut later = Vec::new();
            values.record(&mut Collect(&mut later));
            // In the place of what the field was before: a span may live long, and record a field many times.
            for (name, value) in later {
                match fields.iter_mut().find(|(field, _)| *field == name) {
                    Some((_, before)) => *before = value,
                    None => fields.push((name, value)),
                }
            }
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut all = Vec::new();
        for span in context.event_scope(event).into_iter().flatten().collect::<Vec<_>>().iter().rev() {
            if let Some(Fields(of_span)) = span.extensions().get() {
                all.extend_from_slice(of_span);
            }
        }
        event.record(&mut Collect(&mut all));
        // What comes later wins.
        let mut fields: Map<String, Value> =
            all.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let request_id = fields.remove("request_id").unwrap_or(Value::Null);
        let message = fields.remove("message").unwrap_or_else(|| "".into());
        let (trace_id, span_id) = match current_ids() {
            Some((trace, span)) => (trace.to_string().into(), span.to_string().into()),
            None => (Value::Null, Value::Null),
        };
        let mut line = Map::new();
        line.insert("timestamp".into(), Utc::now().to_rfc3339_opts(SecondsFormat::Micros, true).into());
        line.insert("level".into(), event.metadata().level().as_str().into());
        line.insert("message".into(), message);
        line.insert("target".into(), event.metadata().target().into());
        line.insert("service_name".into(), self.service_name.into());
        line.insert("trace_id".into(), trace_id);
        line.insert("span_id".into(), span_id);
        line.insert("request_id".into(), request_id);
        for (name, value) in fields {
            line.entry(name).or_insert(value);
        }
        let mut line = Value::Object(line).to_string();
        line.push('\n');
        // A log that cannot be written must not stop the process: there is nowhere left to say so.
        let _ = self.writer.make_writer_for(event.metadata()).write_all(line.as_bytes());
    }
}

/// Takes fields as JSON values, without the ones that only the tracer reads.
struct Collect<'a>(&'a mut Vec<(&'static str, Value)>);

impl Collect<'_> {
    fn take(&mut self, field: &Field, value: impl Into<Value>) {
        if !field.name().starts_with("otel.") {
            self.0.push((field.name().trim_start_matches("r#"), value.into()));
        }
    }
}

impl Visit for Collect<'_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.take(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.take(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.take(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.take(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.take(field, value);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.take(field, value.to_string());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.take(field, format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use tracing::{Dispatch, dispatcher, field, info_span};
    use tracing_subscriber::Registry;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[test]
    fn a_field_that_is_recorded_again_and_again_takes_the_place_of_what_it_was() {
        let dispatch = Dispatch::new(Registry::default().with(JsonLines::new("test-service", std::io::sink)));
        dispatcher::with_default(&dispatch, || {
            let span = info_span!("work", kept = 1, done = field::Empty);
            for done in 1..=100 {
                span.record("done", done);
            }
            let registry = dispatch.downcast_ref::<Registry>().unwrap();
            let span = registry.span(&span.id().unwrap()).unwrap();
            let Fields(fields) = span.extensions_mut().remove::<Fields>().unwrap();
            assert_eq!(fields, [("kept", 1.into()), ("done", 100.into())]);
        });
    }
}
