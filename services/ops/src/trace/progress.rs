//! How far the order has come, as its spans tell.

use std::fmt;

use super::span::{Kind, Span, outcome};
use super::story::{Story, by_start};
use crate::group::Group;

/// Parents that are named.
const PARENTS: usize = 4;

/// What the trace shows of an order.
#[derive(Clone, Debug)]
pub(super) struct Progress {
    /// One for each group.
    pub(super) effects: Vec<Effect>,
    /// What a complete trace has and this one does not.
    pub(super) missing: Vec<Missing>,
}

/// What a consumer group did with the order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Effect {
    pub(super) group: Group,
    /// Microseconds from the request to the end of the span that applied the order.
    pub(super) applied_after_us: Option<i64>,
    /// Outcomes of its process spans, in the order of time.
    pub(super) outcomes: Vec<String>,
}

/// Something that a complete trace has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    /// The span of the request.
    Request,
    /// A span that published the order.
    Send,
    /// A span of this group that applied the order.
    Effect(Group),
    /// Spans that others call their parent.
    Parents(Vec<String>),
    /// The same number of spans twice in a row.
    Rest,
}

impl Progress {
    pub(super) fn of(story: &Story) -> Self {
        let effects: Vec<Effect> = Group::ALL.map(|group| Effect::of(story, group)).into();
        let mut missing = Vec::new();
        if !story.own().iter().any(Span::is_request) {
            missing.push(Missing::Request);
        }
        if !story.own().iter().any(|span| span.kind == Kind::Producer) {
            missing.push(Missing::Send);
        }
        let without = effects.iter().filter(|effect| effect.applied_after_us.is_none());
        missing.extend(without.map(|effect| Missing::Effect(effect.group)));
        let parents = story.parents_not_received();
        if !parents.is_empty() {
            missing.push(Missing::Parents(parents.into_iter().map(str::to_owned).collect()));
        }
        Self { effects, missing }
    }

    pub(super) fn is_complete(&self) -> bool {
        self.missing.is_empty()
    }

    /// The last line: whether that is all, and what is not there.
    pub(super) fn verdict(&self) -> String {
        if self.is_complete() {
            return "complete: all four groups have applied the order".to_owned();
        }
        let missing: Vec<String> = self.missing.iter().map(ToString::to_string).collect();
        format!("not complete yet: missing {}", missing.join(", "))
    }
}

impl Effect {
    fn of(story: &Story, group: Group) -> Self {
        let spans = processed(story, group.name());
        let spans = spans.iter().filter_map(|&index| story.spans.get(index));
        let mut effect = Self { group, applied_after_us: None, outcomes: Vec::new() };
        for span in spans {
            let outcome = span.outcome().unwrap_or_default();
            if outcome == outcome::APPLIED {
                let after = span.end_us().saturating_sub(story.began_us());
                effect.applied_after_us.get_or_insert(after);
            }
            effect.outcomes.push(outcome.into_owned());
        }
        effect
    }
}

/// The spans in which a group handled a record of the order, in the order of time.
pub(super) fn processed(story: &Story, group: &str) -> Vec<usize> {
    let mut order = by_start(story.own());
    order.retain(|&index| story.spans.get(index).and_then(Span::group).is_some_and(|of| of == group));
    order
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request => write!(f, "the request"),
            Self::Send => write!(f, "a send span"),
            Self::Effect(group) => write!(f, "the effect of {group}"),
            Self::Parents(parents) => {
                let (first, rest) = parents.split_at(parents.len().min(PARENTS));
                let number = parents.len();
                let spans =
                    if number == 1 { "a parent span".to_owned() } else { format!("{number} parent spans") };
                write!(f, "{spans} ({}{})", first.join(", "), if rest.is_empty() { "" } else { ", .." })
            }
            Self::Rest => write!(f, "the rest: spans still arrive"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn a_trace_is_complete_with_request_send_four_effects_and_all_parents() {
        let progress = Progress::of(&sample::complete());
        assert_eq!((progress.missing.as_slice(), progress.is_complete()), ([].as_slice(), true));
        let outcomes: Vec<String> = progress.effects.iter().map(|effect| effect.outcomes.join(" ")).collect();
        assert_eq!(outcomes, ["applied repeat", "retry applied", "applied", "applied"]);
        let after = progress.effects.iter().map(|effect| effect.applied_after_us);
        assert_eq!(after.collect::<Vec<_>>(), [Some(72_840), Some(612_400), Some(51_900), Some(58_320)]);
    }

    #[test]
    fn each_part_that_is_not_there_is_named() {
        assert_eq!(
            Progress::of(&sample::story()).missing,
            [Missing::Parents(vec!["00000000000000dd".to_owned()])]
        );
        let mut spans = sample::complete().own().to_vec();
        let without = |spans: &[Span]| Progress::of(&Story::new("t", spans.to_vec(), Vec::new())).missing;
        spans.retain(|span| !span.is_request());
        assert_eq!(
            without(&spans),
            [Missing::Request, Missing::Parents(vec!["00000000000000a1".to_owned()])]
        );
        spans.retain(|span| {
            span.service == "sms-consumer" && span.outcome().as_deref() != Some(outcome::APPLIED)
        });
        let verdict = Progress::of(&Story::new("t", spans, Vec::new())).verdict();
        assert!(verdict.starts_with("not complete yet: missing the request, a send span, the effect of email-service, the effect of sms-service"), "{verdict}");
        assert!(verdict.contains("2 parent spans ("), "{verdict}");
    }
}
