//! The spans of one order: those of its trace, and the batches that some of its records were handled in.

use std::collections::{HashMap, HashSet};

use super::span::{Key, Span, attribute};

/// Batches whose traces are fetched.
const BATCHES: usize = 16;

/// All that is known about a trace at one moment.
#[derive(Clone, Debug)]
pub(super) struct Story {
    pub(super) trace: String,
    /// Those of the trace, and then those of the batches.
    pub(super) spans: Vec<Span>,
    /// How many belong to the trace itself.
    pub(super) own: usize,
    /// Batches in which records of this order were handled.
    pub(super) batches: Vec<Batch>,
    /// Spans whose batch is shown beneath another one.
    pub(super) sharing: HashSet<usize>,
    /// Spans whose batch was not received.
    pub(super) without_batch: HashSet<usize>,
}

/// A piece of another trace, shown beneath the span that refers to it.
#[derive(Clone, Debug)]
pub(super) struct Batch {
    /// The span that refers to it.
    pub(super) of: usize,
    /// Its first spans: the one that was referred to or, if that was not received, those beneath.
    pub(super) tops: Vec<usize>,
}

/// The other traces that spans of this one refer to, in the order of the spans; not too many of them.
pub(super) fn linked_traces<'a>(trace: &str, spans: &'a [Span]) -> Vec<&'a str> {
    let mut traces: Vec<&str> = Vec::new();
    for index in by_start(spans) {
        for link in spans.get(index).into_iter().flat_map(|span| &span.links) {
            if link.trace != trace && !traces.contains(&link.trace.as_str()) && traces.len() < BATCHES {
                traces.push(&link.trace);
            }
        }
    }
    traces
}

impl Story {
    /// Of the `linked` traces only what spans of this trace refer to is taken, with all that is beneath it.
    pub(super) fn new(trace: &str, own: Vec<Span>, linked: Vec<Span>) -> Self {
        let asked: HashSet<String> = linked_traces(trace, &own).into_iter().map(str::to_owned).collect();
        let order = by_start(&own);
        let mut story = Self {
            trace: trace.to_owned(),
            own: own.len(),
            spans: own,
            batches: Vec::new(),
            sharing: HashSet::new(),
            without_batch: HashSet::new(),
        };
        let mut pool = Pool::new(linked);
        for of in order {
            let links = story.spans.get(of).map(|span| span.links.clone()).unwrap_or_default();
            for link in links.iter().filter(|link| asked.contains(&link.trace)) {
                let first = story.spans.len();
                let (taken, tops) = pool.take(link);
                story.spans.extend(taken);
                if tops > 0 {
                    story.batches.push(Batch { of, tops: (first..first + tops).collect() });
                } else if pool.has_given(link) {
                    story.sharing.insert(of);
                } else {
                    story.without_batch.insert(of);
                }
            }
        }
        story
    }

    /// The spans of the trace itself.
    pub(super) fn own(&self) -> &[Span] {
        self.spans.get(..self.own).unwrap_or(&self.spans)
    }

    /// When the order was placed; if that span is not there, when the first one began.
    pub(super) fn began_us(&self) -> i64 {
        let request = self.own().iter().find(|span| span.is_request());
        let first = || self.own().iter().map(|span| span.start_us).min();
        request.map(|span| span.start_us).or_else(first).unwrap_or_default()
    }

    /// When the last span of the trace ended.
    pub(super) fn ended_us(&self) -> i64 {
        self.own().iter().map(Span::end_us).max().unwrap_or_default()
    }

    /// The order that the spans are about.
    pub(super) fn order(&self) -> Option<String> {
        self.own().iter().find_map(|span| span.text(attribute::ORDER)).map(|order| order.into_owned())
    }

    /// What the spans of the trace call their parent although it is not among them. The caller of the first service is not ours to
    /// receive.
    pub(super) fn parents_not_received(&self) -> Vec<&str> {
        let received: HashSet<&Key> = self.own().iter().map(|span| &span.key).collect();
        let mut missing: Vec<&str> = Vec::new();
        for span in self.own().iter().filter(|span| !span.is_request()) {
            if let Some(parent) = span.parent.as_ref().filter(|parent| !received.contains(parent))
                && !missing.contains(&parent.span.as_str())
            {
                missing.push(&parent.span);
            }
        }
        missing
    }
}

/// Positions of the spans by the time when they began.
pub(super) fn by_start(spans: &[Span]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..spans.len()).collect();
    order.sort_by_key(|&index| spans.get(index).map(|span| span.start_us));
    order
}

/// Spans of other traces that nobody has taken yet.
struct Pool {
    spans: Vec<Option<Span>>,
    by_key: HashMap<Key, Vec<usize>>,
    by_parent: HashMap<Key, Vec<usize>>,
    given: HashSet<Key>,
}

impl Pool {
    fn new(spans: Vec<Span>) -> Self {
        let (mut by_key, mut by_parent) =
            (HashMap::<Key, Vec<usize>>::new(), HashMap::<Key, Vec<usize>>::new());
        for (index, span) in spans.iter().enumerate() {
            by_key.entry(span.key.clone()).or_default().push(index);
            if let Some(parent) = &span.parent {
                by_parent.entry(parent.clone()).or_default().push(index);
            }
        }
        Self { spans: spans.into_iter().map(Some).collect(), by_key, by_parent, given: HashSet::new() }
    }

    /// The span of this name, or else those beneath it, and then all that is beneath those; with the number of the first kind.
    fn take(&mut self, top: &Key) -> (Vec<Span>, usize) {
        let mut taken = self.give(self.by_key.get(top).cloned());
        if taken.is_empty() {
            taken = self.give(self.by_parent.get(top).cloned());
        }
        let (tops, mut next) = (taken.len(), 0);
        while let Some(key) = taken.get(next).map(|span| span.key.clone()) {
            let below = self.give(self.by_parent.get(&key).cloned());
            taken.extend(below);
            next += 1;
        }
        if tops > 0 {
            self.given.insert(top.clone());
        }
        self.given.extend(taken.iter().map(|span| span.key.clone()));
        (taken, tops)
    }

    fn has_given(&self, key: &Key) -> bool {
        self.given.contains(key)
    }

    fn give(&mut self, which: Option<Vec<usize>>) -> Vec<Span> {
        let which = which.unwrap_or_default();
        which.into_iter().filter_map(|index| self.spans.get_mut(index)?.take()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn linked(mut span: Span, to: &str) -> Span {
        span.links = vec![Key { trace: "other".to_owned(), span: to.to_owned() }];
        span
    }

    fn elsewhere(id: &str, parent: Option<&str>) -> Span {
        let mut span = Span::plain(id, parent, 5, 5);
        span.key.trace = "other".to_owned();
        span.parent.iter_mut().for_each(|parent| parent.trace = "other".to_owned());
        span
    }

    #[test]
    fn of_another_trace_only_what_is_referred_to_is_taken_once() {
        let own = || {
            let (a, b) = (Span::plain("a", None, 1, 1), Span::plain("b", None, 2, 1));
            vec![linked(b, "batch"), linked(a, "batch")]
        };
        let batch =
            vec![elsewhere("sql", Some("batch")), elsewhere("batch", None), elsewhere("stranger", None)];
        let story = Story::new("t", own(), batch);
        let names: Vec<&str> = story.spans.iter().map(|span| span.name.as_str()).collect();
        assert_eq!((story.own, names), (2, vec!["b", "a", "batch", "sql"]));
        assert_eq!((story.batches[0].of, &story.batches[0].tops), (1, &vec![2]));
        assert_eq!((story.sharing, story.without_batch.len()), (HashSet::from([0]), 0));

        let without_top = Story::new("t", own(), vec![elsewhere("sql", Some("batch"))]);
        assert_eq!(without_top.batches[0].tops, [2]);
        let nothing = Story::new("t", own(), Vec::new());
        assert_eq!((nothing.batches.len(), nothing.without_batch.len()), (0, 2));
    }

    #[test]
    fn traces_that_are_referred_to_are_bounded() {
        let mut span = Span::plain("a", None, 0, 0);
        let link = |n: usize| Key { trace: format!("{}", n / 2), span: n.to_string() };
        span.links = (0..200).map(link).collect();
        span.links.push(Key { trace: "t".to_owned(), span: "x".to_owned() });
        let spans = [span];
        let traces = linked_traces("t", &spans);
        assert_eq!((traces.len(), traces[0], traces[15]), (16, "0", "15"));
    }

    #[test]
    fn the_caller_of_the_request_is_not_missed() {
        let mut request = Span::plain("POST /api/order", Some("caller"), 1, 1);
        request.kind = super::super::span::Kind::Server;
        let orphans = [Span::plain("b", Some("lost"), 0, 1), Span::plain("c", Some("lost"), 3, 1)];
        let story = Story::new("t", [request].into_iter().chain(orphans).collect(), Vec::new());
        assert_eq!((story.parents_not_received(), story.began_us(), story.ended_us()), (vec!["lost"], 1, 4));
    }
}
