//! What is said about a span beside its line: how long it was waited for, and what came of it.

use std::collections::HashMap;

use super::ink::Ink;
use super::measure;
use super::progress::processed;
use super::span::{Kind, Span, attribute, outcome};
use super::story::Story;
use super::tree::{Row, What};
use crate::replay::text;

/// A gap between two calls in one process that is worth a line.
const GAP_US: i64 = 1000;
/// Characters of what went wrong.
const WHY: usize = 400;

/// Remarks about one span.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Notes {
    pub(super) wait: Option<Wait>,
    /// Behind the name.
    pub(super) mark: Option<String>,
    /// On a line of its own.
    pub(super) remark: Option<(Ink, String)>,
}

/// Time in which nobody worked on the order here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wait {
    pub(super) from_us: i64,
    pub(super) to_us: i64,
    pub(super) place: String,
}

/// Remarks about every span of the story, by its position.
pub(super) fn notes(story: &Story, rows: &[Row<'_>]) -> Vec<Notes> {
    let mut notes = vec![Notes::default(); story.spans.len()];
    let tries = tries(story);
    for (index, above) in above(rows) {
        let (Some(span), Some(notes)) = (story.spans.get(index), notes.get_mut(index)) else { continue };
        let attempt = tries.get(&index);
        notes.wait = match attempt.and_then(|attempt| attempt.after).or(above) {
            Some(before) => story.spans.get(before).and_then(|before| wait(before, span, attempt)),
            None => None,
        };
        notes.remark = remark(span, attempt, story, index);
    }
    for top in story.batches.iter().flat_map(|batch| &batch.tops) {
        if let (Some(span), Some(notes)) = (story.spans.get(*top), notes.get_mut(*top)) {
            let size = span.number(attribute::BATCH_SIZE);
            notes.mark = Some(size.map_or_else(|| "(batch)".to_owned(), |size| format!("(batch of {size})")));
            // It may hold records of other orders, which nobody here waited for.
            notes.wait = None;
        }
    }
    notes
}

/// Each span with the one that it is shown beneath.
fn above(rows: &[Row<'_>]) -> Vec<(usize, Option<usize>)> {
    let mut path: Vec<Option<usize>> = Vec::new();
    let mut found = Vec::new();
    for row in rows {
        path.truncate(row.rails.len());
        let above = path.last().copied().flatten();
        let span = match row.what {
            What::Span(index) => Some(index),
            What::NotReceived(_) => None,
        };
        found.extend(span.map(|index| (index, above)));
        path.push(span);
    }
    found
}

/// A span in which a record was handled.
struct Try {
    number: u64,
    /// The one before of the same group.
    after: Option<usize>,
}

fn tries(story: &Story) -> HashMap<usize, Try> {
    let mut groups: Vec<String> =
        story.own().iter().filter_map(|span| Some(span.group()?.into_owned())).collect();
    groups.sort_unstable();
    groups.dedup();
    let mut tries = HashMap::new();
    for group in groups {
        let (mut after, mut number) = (None, 1);
        for index in processed(story, &group) {
            let Some(span) = story.spans.get(index) else { continue };
            number = span.number(attribute::ATTEMPT).unwrap_or(number);
            tries.insert(index, Try { number, after });
            after = Some(index);
            number = match span.outcome().as_deref() {
                Some(outcome::RETRY) => number.saturating_add(1),
                _ => 1,
            };
        }
    }
    tries
}

/// The time between the end of one step and the beginning of the next. None if they overlap, as a call and what it makes do.
fn wait(before: &Span, span: &Span, attempt: Option<&Try>) -> Option<Wait> {
    let (from_us, to_us) = (before.end_us(), span.start_us);
    let place = match (span.kind, attempt) {
        (_, Some(Try { number: 2.., after: Some(_) })) => " for the next attempt",
        (_, Some(Try { after: Some(_), .. })) => " before it came again",
        (Kind::Producer, _) => " in the outbox",
        (Kind::Consumer, _) => " in Kafka",
        _ if to_us.saturating_sub(from_us) < GAP_US => return None,
        _ => "",
    };
    (to_us > from_us).then(|| Wait { from_us, to_us, place: place.to_owned() })
}

impl Wait {
    pub(super) fn text(&self) -> String {
        format!("waited {}{}", measure::time(self.to_us.saturating_sub(self.from_us)), self.place)
    }
}

fn remark(span: &Span, attempt: Option<&Try>, story: &Story, index: usize) -> Option<(Ink, String)> {
    let mut parts = Vec::new();
    let outcome = span.outcome().filter(|_| span.kind == Kind::Consumer);
    match outcome.as_deref() {
        None | Some(outcome::APPLIED) => {}
        Some(outcome::REPEAT) => parts.push("repeat, nothing done".to_owned()),
        Some(other) => parts.push(text::line(other, WHY)),
    }
    if let Some(attempt) = attempt
        && (attempt.number > 1 || outcome.as_deref() == Some(outcome::RETRY))
    {
        parts.push(format!("attempt {}", attempt.number));
    }
    if let Some(failure) = &span.failure {
        let what = [&failure.kind, &failure.description].into_iter().flatten().cloned().collect::<Vec<_>>();
        parts.push(text::line(&if what.is_empty() { "error".to_owned() } else { what.join(": ") }, WHY));
    }
    if story.sharing.contains(&index) {
        parts.push("in a batch that is shown elsewhere".to_owned());
    }
    if story.without_batch.contains(&index) {
        parts.push("its batch was not received".to_owned());
    }
    let ink = if span.failure.is_some() { Ink::Bad } else { Ink::Notable };
    (!parts.is_empty()).then(|| (ink, parts.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::super::{sample, tree};
    use super::*;

    fn sampled() -> Vec<(String, Notes)> {
        let story = sample::story();
        let notes = notes(&story, &tree::rows(&story));
        story.spans.iter().map(|span| format!("{} {}", span.service, span.name)).zip(notes).collect()
    }

    #[test]
    fn waiting_is_named_by_where_the_order_lay() {
        let waits: Vec<String> =
            sampled().iter().filter_map(|(_, notes)| Some(notes.wait.as_ref()?.text())).collect();
        for expected in [
            "waited 3.1 ms in the outbox",
            "waited 450.0 ms for the next attempt",
            "waited 540.0 ms before it came again",
        ] {
            assert!(waits.iter().any(|wait| wait == expected), "{expected}: {waits:?}");
        }
        assert_eq!(waits.iter().filter(|wait| wait.ends_with("in Kafka")).count(), 4, "{waits:?}");
    }

    #[test]
    fn what_came_of_a_record_is_said_unless_it_was_applied_at_once() {
        let remarks: Vec<String> =
            sampled().into_iter().filter_map(|(_, notes)| Some(notes.remark?.1)).collect();
        assert_eq!(
            remarks,
            [
                "retry, attempt 1, no_answer: the gateway did not answer within 100 ms",
                "timeout: deadline has elapsed",
                "attempt 2",
                "repeat, nothing done",
            ]
        );
    }

    #[test]
    fn clocks_that_disagree_make_no_negative_wait() {
        let (before, mut after) = (Span::plain("a", None, 10, 10), Span::plain("b", Some("a"), 5, 1));
        after.kind = Kind::Consumer;
        assert_eq!(wait(&before, &after, None), None);
        after.start_us = 20;
        assert_eq!(wait(&before, &after, None), None);
        after.start_us = 21;
        assert_eq!(wait(&before, &after, None).unwrap().text(), "waited 0.00 ms in Kafka");
        after.kind = Kind::Internal;
        assert_eq!(wait(&before, &after, None), None);
    }
}
