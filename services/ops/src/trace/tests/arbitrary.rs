//! Whatever spans say of each other, each is shown once.

use std::collections::HashMap;

use proptest::prelude::*;
use serde_json::json;

use super::super::progress::Progress;
use super::super::span::{Failure, Key, Kind, Span, attribute};
use super::super::story::Story;
use super::super::tree::{What, rows};
use super::super::{json, page};

/// Few ids, so that they are doubled, miss and lead in circles.
fn key() -> impl Strategy<Value = Key> {
    (prop_oneof![8 => Just("t"), 1 => Just("u"), 1 => Just("v")], 0..12_u8)
        .prop_map(|(trace, span)| Key { trace: trace.to_owned(), span: span.to_string() })
}

fn time() -> impl Strategy<Value = i64> {
    prop_oneof![6 => 0..2_000_000_i64, 1 => Just(0), 1 => any::<i64>()]
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        Just(Kind::Server),
        Just(Kind::Client),
        Just(Kind::Producer),
        Just(Kind::Consumer),
        Just(Kind::Internal)
    ]
}

fn attributes() -> impl Strategy<Value = HashMap<&'static str, &'static str>> {
    let some = |values: &'static [&'static str]| prop::option::of(prop::sample::select(values));
    (
        some(&["email-service", "sms-service", "strangers"]),
        some(&["applied", "repeat", "retry", "", "\x1b[2J"]),
        some(&["0", "2", "-1", "18446744073709551615"]),
    )
        .prop_map(|(group, outcome, number)| {
            let given = [
                (attribute::GROUP, group),
                (attribute::OUTCOME, outcome),
                (attribute::ATTEMPT, number),
                (attribute::BATCH_SIZE, number),
            ];
            given.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
        })
}

fn span() -> impl Strategy<Value = Span> {
    let names = prop_oneof![Just("POST /api/order".to_owned()), ".{0,40}"];
    let parts = (key(), prop::option::of(key()), prop::collection::vec(key(), 0..3), names, kind());
    (parts, time(), time(), attributes(), any::<bool>()).prop_map(
        |((key, parent, links, name, kind), start_us, duration, attributes, failed)| Span {
            key,
            parent,
            links,
            service: name.chars().take(3).collect(),
            name,
            kind,
            start_us,
            duration_us: duration.max(0),
            attributes: attributes.into_iter().map(|(name, value)| (name.to_owned(), json!(value))).collect(),
            failure: failed.then(Failure::default),
            warnings: Vec::new(),
        },
    )
}

proptest! {
    #[test]
    fn every_span_has_one_row_and_the_page_has_its_width(
        own in prop::collection::vec(span(), 0..30),
        linked in prop::collection::vec(span(), 0..20),
        width in 0..200_usize,
    ) {
        let given = own.len();
        let story = Story::new("t", own, linked);
        prop_assert_eq!(story.own, given);
        let mut shown = vec![0; story.spans.len()];
        for row in rows(&story) {
            if let What::Span(index) = row.what {
                shown[index] += 1;
            }
        }
        prop_assert!(shown.iter().all(|&times| times == 1), "{shown:?}");

        let progress = Progress::of(&story);
        let lines = page::page(&story, &progress, None, "http://jaeger/trace/t", width);
        let text: Vec<String> = lines.iter().map(|line| line.render(false)).collect();
        // The verdict lists ids and may be longer.
        let table = &text[3..text.len() - 1];
        prop_assert!(table.iter().all(|line| line.chars().count() <= width.max(80)), "{text:#?}");
        prop_assert!(text.iter().all(|line| !line.contains(char::is_control)), "{text:#?}");
        let entries: Vec<serde_json::Value> = serde_json::from_str(&json::json(&story).unwrap()).unwrap();
        prop_assert_eq!(entries.len(), story.spans.len());
    }
}
