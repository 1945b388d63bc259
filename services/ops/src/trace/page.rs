//! All that is printed about a trace: the header, the tree, what came of the order.

use std::collections::HashSet;

use chrono::{DateTime, SecondsFormat};
use uuid::Uuid;

use super::draw;
use super::ink::{Ink, Line};
use super::measure::time;
use super::progress::{Effect, Progress};
use super::span::Span;
use super::story::Story;
use crate::replay::text;

/// Characters beside the effect of a group.
const OUTCOMES: usize = draw::NARROWEST - 34;
/// Kinds of warnings that are shown.
const WARNINGS: usize = 3;

/// The lines, fit for a terminal of this width. `address` is where people look at the trace.
/// Without the id of the order it is that which the spans have.
pub(super) fn page(
    story: &Story,
    progress: &Progress,
    order: Option<Uuid>,
    address: &str,
    width: usize,
) -> Vec<Line> {
    let mut lines = header(story, order, address);
    lines.push(Line::default());
    lines.extend(draw::tree(story, width));
    lines.push(Line::default());
    lines.push(Line::default().with(Ink::Faint, format!("{:<18} {:>13}", "GROUP", "APPLIED AFTER")));
    lines.extend(progress.effects.iter().map(effect));
    lines.extend(warnings(story, width.max(draw::NARROWEST)));
    lines.push(Line::default());
    let ink = if progress.is_complete() { Ink::Good } else { Ink::Notable };
    lines.push(Line::default().with(ink, progress.verdict()));
    lines
}

fn header(story: &Story, order: Option<Uuid>, address: &str) -> Vec<Line> {
    let order = order.map(|order| order.to_string()).or_else(|| story.order());
    let order = order.map_or_else(|| "unknown".to_owned(), |order| text::line(&order, 40));
    let began = DateTime::from_timestamp_micros(story.began_us()).map_or_else(
        || "at an unknown time".to_owned(),
        |began| began.to_rfc3339_opts(SecondsFormat::Millis, true),
    );
    let took = time(story.ended_us().saturating_sub(story.began_us()));
    let services: HashSet<&str> = story.own().iter().map(|span| span.service.as_str()).collect();
    let mut counts = format!("{} of {}", count(story.own, "span"), count(services.len(), "service"));
    let (others, batches) = (story.spans.len() - story.own, story.batches.len());
    if others > 0 {
        let batches = if batches == 1 { "a batch".to_owned() } else { format!("{batches} batches") };
        counts.push_str(&format!(" and {others} of {batches}"));
    }
    vec![
        Line::plain("order ").with(Ink::Bold, order).with(Ink::Plain, format!("  trace {}", story.trace)),
        Line::plain(format!("began {began}, took {took}, {counts}")),
        Line::default().with(Ink::Faint, address),
    ]
}

fn count(number: usize, of: &str) -> String {
    format!("{number} {of}{}", if number == 1 { "" } else { "s" })
}

fn effect(effect: &Effect) -> Line {
    let group = format!("{:<18} ", effect.group);
    let line = match effect.applied_after_us {
        Some(after) => Line::plain(group).with(Ink::Good, format!("{:>13}", time(after))),
        None => Line::plain(group).with(Ink::Bad, format!("{:>13}", "missing")),
    };
    let usual = matches!(effect.outcomes.as_slice(), [only] if only == super::span::outcome::APPLIED);
    if usual || effect.outcomes.is_empty() {
        return line;
    }
    let outcomes =
        effect.outcomes.iter().map(|outcome| if outcome.is_empty() { "no outcome" } else { outcome });
    line.with(Ink::Notable, format!("  {}", text::line(&outcomes.collect::<Vec<_>>().join(", "), OUTCOMES)))
}

/// What Jaeger says about the spans, each thing once.
fn warnings(story: &Story, width: usize) -> Vec<Line> {
    let mut kinds: Vec<&str> = Vec::new();
    for warning in story.spans.iter().flat_map(|span: &Span| &span.warnings) {
        if !kinds.contains(&warning.as_str()) && kinds.len() < WARNINGS {
            kinds.push(warning);
        }
    }
    let lines = kinds.into_iter().map(|warning| {
        let warning = text::line(&format!("Jaeger warns: {warning}"), width);
        Line::default().with(Ink::Notable, warning)
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    fn printed(story: &Story, width: usize) -> String {
        let lines = page(story, &Progress::of(story), None, "http://127.0.0.1:16686/trace/x", width);
        lines.iter().map(|line| line.render(false) + "\n").collect()
    }

    #[test]
    fn the_sample_looks_like_this() {
        let printed = printed(&sample::story(), 100);
        assert_eq!(printed, include_str!("sample/page.txt"), "\n{printed}");
    }

    #[test]
    fn a_complete_order_says_so() {
        let printed = printed(&sample::complete(), 120);
        assert!(printed.ends_with("\ncomplete: all four groups have applied the order\n"), "{printed}");
    }

    #[test]
    fn each_warning_is_shown_once_and_not_too_many() {
        let mut story = sample::story();
        for (number, span) in story.spans.iter_mut().enumerate() {
            span.warnings = vec![format!("clock skew {}", number % 9)];
        }
        let printed = printed(&story, 100);
        assert_eq!(printed.matches("Jaeger warns: clock skew").count(), 3, "{printed}");
    }
}
