//! What a run sends, and where.

use messaging::dead_letters::{replayed, topic};
use messaging::headers::{self, dead_letter};
use messaging::reader::ReadRecord;

use crate::fixture::{Fixture, GROUP};

fn header<'a>(record: &'a ReadRecord, name: &str) -> Option<&'a str> {
    headers::text(record.headers.as_ref()?, name)
}

fn payloads(records: &[ReadRecord]) -> Vec<String> {
    records.iter().map(|record| String::from_utf8_lossy(&record.payload).into_owned()).collect()
}

#[tokio::test]
async fn a_letter_goes_back_to_its_own_group_as_it_was_and_nowhere_else_and_only_once() {
    let fixture = Fixture::new().await;
    fixture.write(vec![fixture.letter("order-1", 10, "broken").header(dead_letter::REPLAYS, "1")]).await;
    let place = fixture.place("broken").await;
    fixture.ops("run", &[]).await.says(&["1 of 1 letters sent to", "email-service.retry", "ops audit"]);

    let records = fixture.retried().await;
    let [record] = &records[..] else { panic!("{records:?}") };
    assert_eq!((&record.key[..], &record.payload[..]), (&b"order-1"[..], &br#"{"offset":10}"#[..]));
    let (partition, offset) = replayed(record).unwrap();
    assert_eq!(format!("{partition}/{offset}"), place);
    for (name, value) in [
        ("ce_type", Some("ThingHappened")),
        (dead_letter::REPLAYS, Some("2")),
        (dead_letter::SOURCE_TOPIC, Some(fixture.topic.as_str())),
        (dead_letter::SOURCE_OFFSET, Some("10")),
        (dead_letter::BEYOND_HORIZON, None),
    ] {
        assert_eq!(header(record, name), value, "{name}");
    }
    assert_eq!(fixture.strayed().await, 0);

    fixture.ops("run", &[]).await.says(&["nothing to send from", "left out: 1 replayed before"]);
    assert_eq!(fixture.retried().await.len(), 1);
    fixture.ops("run", &["--again"]).await.says(&["1 of 1 letters sent"]);
    assert_eq!(fixture.retried().await.len(), 2);
}

#[tokio::test]
async fn a_dry_run_names_what_a_run_would_send_and_sends_nothing() {
    let fixture = Fixture::new().await;
    fixture.write(vec![fixture.letter("a", 1, "refused"), fixture.letter("b", 2, "broken")]).await;
    let place = fixture.place("refused").await;
    let would = format!("would send {place}");
    let said = fixture.ops("run", &["--dry-run", "--reason", "refused"]).await;
    let said = said.says(&[
        &would,
        "replay 1, from 0/1: refused",
        "1 letters would be sent",
        "1 outside the filters",
    ]);
    assert!(!said.out.contains("broken"), "{}", said.out);
    assert_eq!(fixture.retried().await.len(), 0);
    fixture.ops("run", &["--reason", "refused"]).await.says(&["1 of 1 letters sent"]);
    assert_eq!(payloads(&fixture.retried().await), [r#"{"offset":1}"#]);
}

#[tokio::test]
async fn the_letters_of_a_key_come_back_in_the_order_of_the_source_and_a_held_key_comes_whole() {
    let fixture = Fixture::new().await;
    let held = |offset, reason| fixture.letter("held", offset, reason).header(dead_letter::HELD, "true");
    fixture
        .write(vec![
            held(30, "behind a held record"),
            held(10, "broken"),
            held(20, "behind a held record"),
            fixture.letter("other", 5, "behind"),
        ])
        .await;
    let said = fixture.ops("run", &["--reason", "broken"]).await;
    said.says(&[
        "3 of 3 letters sent",
        "2 of them are outside the filters: a held key goes whole",
        "1 outside the filters",
    ]);
    let expected = [10, 20, 30].map(|offset| format!(r#"{{"offset":{offset}}}"#));
    assert_eq!(payloads(&fixture.retried().await), expected);
}

#[tokio::test]
async fn what_circles_what_may_double_and_what_is_of_another_group_stays_until_it_is_allowed() {
    let fixture = Fixture::new().await;
    let mut of_another = fixture.letter("c", 3, "broken").header(dead_letter::HANDLER, "sms-service");
    of_another.topic = topic(&fixture.topic, GROUP);
    fixture
        .write(vec![
            fixture.letter("a", 1, "broken").header(dead_letter::REPLAYS, "3"),
            fixture.letter("b", 2, "beyond-horizon: too old to know"),
            of_another,
        ])
        .await;
    let left = ["nothing to send", "1 failed at every replay", "1 beyond the horizon", "1 unreadable"];
    fixture.ops("run", &[]).await.says(&left);
    assert_eq!((fixture.retried().await.len(), fixture.strayed().await), (0, 0));

    fixture.ops("run", &["--max-replays", "4"]).await.says(&["1 of 1 letters sent"]);
    fixture.ops("run", &["--beyond-horizon", "--key", "b"]).await.says(&["1 of 1 letters sent"]);
    let mut allowed: Vec<_> = fixture.retried().await;
    allowed.sort_by(|a, b| a.key.cmp(&b.key));
    let allowed: Vec<_> = allowed.iter().map(|record| header(record, dead_letter::BEYOND_HORIZON)).collect();
    assert_eq!(allowed, [None, Some("true")]);
    assert_eq!(fixture.strayed().await, 0);
}

#[tokio::test]
async fn a_limit_leaves_the_rest_to_the_next_run() {
    let fixture = Fixture::new().await;
    fixture.write((0..5).map(|n| fixture.letter(&format!("order-{n}"), n, "broken")).collect()).await;
    fixture.ops("run", &["--limit", "3"]).await.says(&["3 of 3 letters sent", "left out: 2 over the limit"]);
    fixture.ops("run", &["--limit", "3"]).await.says(&["2 of 2 letters sent", "left out: 3 replayed before"]);
    assert_eq!(fixture.retried().await.len(), 5);
}
