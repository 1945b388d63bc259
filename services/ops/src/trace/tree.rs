//! Which span is shown beneath which.
//!
//! Spans come from many processes over a network: some never arrive, ids may be doubled, parents may lead in a circle. Whatever they say of
//! each other, every span gets exactly one row.

use std::collections::HashMap;

use super::span::Key;
use super::story::{Story, by_start};

/// Levels that are drawn; what is deeper stays on the last one.
const DEEPEST: usize = 24;

/// A row of the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row<'a> {
    pub(super) what: What<'a>,
    /// For every level down to this row: whether another row of that level follows.
    pub(super) rails: Vec<bool>,
    /// Whether rows beneath this one follow.
    pub(super) has_below: bool,
}

/// What a row shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What<'a> {
    /// A span: its position in the story.
    Span(usize),
    /// A span that others call their parent and that was not received.
    NotReceived(&'a str),
}

/// The rows, from the top.
pub(super) fn rows(story: &Story) -> Vec<Row<'_>> {
    let places = Places::new(story);
    let mut shown = vec![false; story.spans.len()];
    let mut rows = Vec::new();
    for &top in &places.tops {
        show(&[top], &[], &places, &mut shown, &mut rows);
    }
    for (parent, orphans) in &places.orphans {
        rows.push(Row { what: What::NotReceived(parent), rails: Vec::new(), has_below: true });
        show(orphans, &[true], &places, &mut shown, &mut rows);
    }
    // What is left calls itself its own ancestor: cut the circle where it began.
    for index in by_start(&story.spans) {
        if shown.get(index) == Some(&false) {
            show(&[index], &[], &places, &mut shown, &mut rows);
        }
    }
    rows
}

struct Places<'a> {
    /// Spans beneath none.
    tops: Vec<usize>,
    /// Spans beneath each span, in the order of time.
    below: Vec<Vec<usize>>,
    /// Spans beneath one that was not received.
    orphans: Vec<(&'a str, Vec<usize>)>,
}

impl<'a> Places<'a> {
    fn new(story: &'a Story) -> Self {
        let mut by_key = HashMap::<&Key, usize>::new();
        for (index, span) in story.spans.iter().enumerate() {
            by_key.entry(&span.key).or_insert(index);
        }
        let batch_of: HashMap<usize, usize> =
            story.batches.iter().flat_map(|batch| batch.tops.iter().map(|&top| (top, batch.of))).collect();
        let mut places =
            Self { tops: Vec::new(), below: vec![Vec::new(); story.spans.len()], orphans: Vec::new() };
        for index in by_start(&story.spans) {
            let Some(span) = story.spans.get(index) else { continue };
            // A span without a parent that follows from one of its own trace belongs beneath that one.
            let parent =
                span.parent.as_ref().or_else(|| span.links.iter().find(|link| link.trace == span.key.trace));
            let above = batch_of.get(&index).or_else(|| by_key.get(parent?));
            match (above.and_then(|&above| places.below.get_mut(above)), &span.parent) {
                (Some(below), _) => below.push(index),
                (None, Some(parent)) if !span.is_request() => places.orphan(&parent.span, index),
                (None, _) => places.tops.push(index),
            }
        }
        places
    }

    fn orphan(&mut self, parent: &'a str, index: usize) {
        match self.orphans.iter_mut().find(|(known, _)| *known == parent) {
            Some((_, orphans)) => orphans.push(index),
            None => self.orphans.push((parent, vec![index])),
        }
    }
}

/// Shows these siblings and all beneath them. Without recursion: a chain of spans may be long. No rails: they are tops.
fn show<'a>(
    siblings: &[usize],
    rails: &[bool],
    places: &Places<'_>,
    shown: &mut [bool],
    rows: &mut Vec<Row<'a>>,
) {
    let mut waiting = Vec::new();
    let mut add = |siblings: &[usize], rails: &[bool], waiting: &mut Vec<(usize, Vec<bool>)>| {
        let fresh: Vec<usize> = siblings
            .iter()
            .copied()
            .filter(|&index| shown.get_mut(index).is_some_and(|shown| !std::mem::replace(shown, true)))
            .collect();
        // The first is taken from the stack first.
        for (place, &index) in fresh.iter().enumerate().rev() {
            let mut rails = rails.to_vec();
            if let Some(own) = rails.last_mut() {
                *own = place + 1 < fresh.len();
            }
            waiting.push((index, rails));
        }
        !fresh.is_empty()
    };
    add(siblings, rails, &mut waiting);
    while let Some((index, rails)) = waiting.pop() {
        let mut deeper = rails.clone();
        if deeper.len() < DEEPEST {
            deeper.push(false);
        }
        let below = places.below.get(index).map(Vec::as_slice).unwrap_or_default();
        let has_below = add(below, &deeper, &mut waiting);
        rows.push(Row { what: What::Span(index), rails, has_below });
    }
}

#[cfg(test)]
mod tests {
    use super::super::span::Span;
    use super::*;

    /// Each row as its level and its name.
    fn shape(spans: Vec<Span>) -> Vec<String> {
        let story = Story::new("t", spans, Vec::new());
        let name = |what| match what {
            What::Span(index) => story.spans[index].name.clone(),
            What::NotReceived(parent) => format!("? {parent}"),
        };
        rows(&story).into_iter().map(|row| format!("{} {}", row.rails.len(), name(row.what))).collect()
    }

    #[test]
    fn children_are_beneath_their_parents_in_the_order_of_time_even_if_they_began_before_them() {
        let spans = vec![
            Span::plain("late", Some("top"), 30, 1),
            Span::plain("early", Some("top"), 5, 1),
            Span::plain("top", None, 10, 5),
            Span::plain("deep", Some("early"), 6, 0),
        ];
        assert_eq!(shape(spans), ["0 top", "1 early", "2 deep", "1 late"]);
    }

    #[test]
    fn orphans_of_one_parent_are_together_and_a_circle_is_cut() {
        let spans = vec![
            Span::plain("a", Some("lost"), 5, 1),
            Span::plain("b", Some("lost"), 3, 1),
            Span::plain("x", Some("y"), 8, 1),
            Span::plain("y", Some("x"), 9, 1),
            Span::plain("self", Some("self"), 1, 1),
        ];
        assert_eq!(shape(spans), ["0 ? lost", "1 b", "1 a", "0 self", "0 x", "1 y"]);
    }

    #[test]
    fn of_doubled_ids_the_first_is_the_parent_and_a_long_chain_does_not_go_off_the_page() {
        let spans = vec![
            Span::plain("a", None, 1, 1),
            Span::plain("a", None, 2, 1),
            Span::plain("b", Some("a"), 3, 1),
        ];
        assert_eq!(shape(spans), ["0 a", "1 b", "0 a"]);
        let chain = (1..20_000).map(|n| Span::plain(&n.to_string(), Some(&(n - 1).to_string()), n, 1));
        let chain = std::iter::once(Span::plain("0", None, 0, 1)).chain(chain);
        let shape = shape(chain.collect());
        assert_eq!((shape.len(), shape[19_999].as_str()), (20_000, "24 19999"));
    }
}
