//! Records that will not be applied, kept with the reason; and where a record that came back first stood.

use super::job::Record;
use crate::dead_letters;
use crate::headers::{self, dead_letter, with};
use crate::producer::OutgoingRecord;

/// A letter has to fit where its record did, whatever a handler or decoder has to say. Bytes.
const LONGEST_REASON: usize = 1024;

/// Where a record first stood, and what was decided about it since.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Origin<'a> {
    pub(super) topic: &'a str,
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) replays: u32,
    pub(super) beyond_horizon: bool,
}

impl<'a> Origin<'a> {
    /// Headers of the story count only on the group's retry topic: on the source topic anybody may have written them.
    pub(super) fn of(record: &'a Record, group: &str) -> Self {
        let itself = Self {
            topic: &record.topic,
            partition: record.partition,
            offset: record.offset,
            replays: 0,
            beyond_horizon: false,
        };
        let Some(source) = record.topic.strip_suffix(&dead_letters::retry_suffix(group)) else {
            return itself;
        };
        let text = |name| headers::text(record.headers.as_ref()?, name);
        let number = |name| text(name)?.parse::<i64>().ok();
        Self {
            // The name of the retry topic says it; a header could send letters wherever somebody likes.
            topic: source,
            partition: number(dead_letter::SOURCE_PARTITION)
                .and_then(|number| number.try_into().ok())
                .unwrap_or(itself.partition),
            offset: number(dead_letter::SOURCE_OFFSET).unwrap_or(itself.offset),
            replays: number(dead_letter::REPLAYS).and_then(|number| number.try_into().ok()).unwrap_or(1),
            beyond_horizon: text(dead_letter::BEYOND_HORIZON) == Some("true"),
        }
    }
}

/// The dead letter of `record`: key, value and headers as they were, and what happened beside them.
pub(super) fn letter(
    record: &Record,
    group: &str,
    reason: &str,
    attempts: u32,
    held: bool,
) -> OutgoingRecord {
    // For people to read; the letter's own key is the true one.
    let key = String::from_utf8_lossy(record.key());
    let origin = Origin::of(record, group);
    let mut headers = [
        (dead_letter::SOURCE_TOPIC, origin.topic),
        (dead_letter::SOURCE_PARTITION, &origin.partition.to_string()),
        (dead_letter::SOURCE_OFFSET, &origin.offset.to_string()),
        (dead_letter::KEY, &key),
        (dead_letter::HANDLER, group),
        (dead_letter::REASON, cut(reason)),
        (dead_letter::ATTEMPTS, &attempts.to_string()),
    ]
    .into_iter()
    .fold(headers::without_story(record.headers.as_ref()), |headers, (name, value)| {
        with(headers, name, value)
    });
    if origin.replays > 0 {
        headers = with(headers, dead_letter::REPLAYS, &origin.replays.to_string());
    }
    if held {
        headers = with(headers, dead_letter::HELD, "true");
    }
    OutgoingRecord {
        topic: dead_letters::topic(origin.topic, group),
        key: record.key.clone(),
        payload: record.payload.clone(),
        headers,
    }
}

fn cut(reason: &str) -> &str {
    let end = (0..=LONGEST_REASON).rev().find(|end| reason.is_char_boundary(*end));
    if reason.len() > LONGEST_REASON {
        reason.get(..end.unwrap_or_default()).unwrap_or_default()
    } else {
        reason
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::message::{Headers, OwnedHeaders};

    use super::*;
    use crate::dead_letters::Letter;
    use crate::reader::{Has, ReadRecord};

    fn record(topic: &str, headers: OwnedHeaders) -> Record {
        let (key, payload) = (Some(b"key".to_vec()), Some(b"value".to_vec()));
        Record { topic: topic.into(), partition: 3, offset: 40, key, payload, headers: Some(headers) }
    }

    /// As it would be read back.
    fn read(record: &OutgoingRecord) -> ReadRecord {
        ReadRecord {
            partition: 1,
            offset: 7,
            timestamp_ms: None,
            key: record.key.clone().unwrap_or_default(),
            payload: record.payload.clone().unwrap_or_default(),
            has: Has { key: record.key.is_some(), payload: record.payload.is_some() },
            headers: Some(record.headers.clone()),
        }
    }

    #[test]
    fn a_letter_keeps_where_it_first_stood_and_counts_its_replays_however_often_it_goes_round() {
        let first = record("things", with(OwnedHeaders::new(), headers::TRACEPARENT, "trace"));
        let mut letter = letter_of(&first);
        for replays in 0..4 {
            assert_eq!((letter.source_topic.as_str(), letter.source_partition), ("things", 3));
            assert_eq!((letter.source_offset, letter.replays), (40, replays));
            let replay = letter.replay(false);
            assert_eq!(replay.topic, "things.group.retry");
            assert_eq!(dead_letters::replayed(&read(&replay)), Some((1, 7)));
            letter = letter_of(&Record { partition: 0, offset: 99, ..record(&replay.topic, replay.headers) });
            assert_eq!((letter.traceparent.as_deref(), letter.headers.count()), (Some("trace"), 9));
        }
    }

    fn letter_of(record: &Record) -> Letter {
        let letter = letter(record, "group", "no", 2, false);
        assert_eq!(letter.topic, "things.group.dlq");
        Letter::read(&read(&letter)).unwrap()
    }

    #[test]
    fn a_reason_is_cut_between_two_characters_after_a_kilobyte_at_most() {
        let long = format!("{}é and more", "x".repeat(LONGEST_REASON - 1));
        assert_eq!(cut(&long), "x".repeat(LONGEST_REASON - 1));
        assert_eq!((cut("short"), cut("")), ("short", ""));
        assert_eq!(cut(&"x".repeat(LONGEST_REASON)).len(), LONGEST_REASON);
    }

    #[test]
    fn the_permission_to_pass_the_horizon_is_for_one_replay() {
        let replay = letter_of(&record("things", OwnedHeaders::new())).replay(true);
        let back = record(&replay.topic, replay.headers);
        assert!(Origin::of(&back, "group").beyond_horizon);
        assert!(headers::text(&letter_of(&back).headers, dead_letter::BEYOND_HORIZON).is_none());
    }

    #[test]
    fn a_story_that_somebody_wrote_on_the_source_topic_is_not_believed() {
        let forged = with(OwnedHeaders::new(), dead_letter::SOURCE_OFFSET, "1");
        let forged = record("things", with(forged, dead_letter::BEYOND_HORIZON, "true"));
        let origin = Origin::of(&forged, "group");
        assert_eq!((origin.offset, origin.replays, origin.beyond_horizon), (40, 0, false));
    }

    #[test]
    fn which_topic_a_record_comes_from_is_told_by_the_name_of_its_retry_topic_and_by_no_header() {
        let forged = with(OwnedHeaders::new(), dead_letter::SOURCE_TOPIC, "orders");
        let letter = letter(&record("things.group.retry", forged), "group", "no", 1, false);
        assert_eq!(letter.topic, "things.group.dlq");
        assert_eq!(Letter::read(&read(&letter)).unwrap().source_topic, "things");
    }
}
