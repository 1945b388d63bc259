//! What an operator sees before deciding.

use messaging::OutgoingRecord;
use messaging::dead_letters::topic;
use messaging::headers::dead_letter::{HELD, REPLAYS};

use crate::fixture::{Fixture, GROUP};

#[tokio::test]
async fn list_shows_every_letter_counts_what_waits_by_reason_and_drops_nothing_unreadable() {
    let fixture = Fixture::new().await;
    fixture.ops("list", &[]).await.says(&["no letter in"]);
    let dead_letters = topic(&fixture.topic, GROUP);
    fixture
        .write(vec![
            fixture.letter("order-1", 10, "refused: no such street"),
            fixture.letter("order-2", 11, "refused: no such street").header(REPLAYS, "2"),
            fixture.letter("order-3", 12, "the template\nis broken").header(HELD, "true"),
            OutgoingRecord::new(dead_letters, "stranger", "no letter"),
        ])
        .await;
    let said = fixture
        .ops("list", &[])
        .await
        .says(&["3 wait, 0 replayed, 1 unreadable", "2 wait: refused: no such street"]);
    let line = |key: &str| said.out.lines().find(|line| line.contains(key)).unwrap();
    assert!(line("order-2").contains("  5        2  waiting     refused: no such"), "{}", said.out);
    assert!(line("order-3").contains("(held) the template is broken"), "{}", said.out);
    assert!(line("stranger").contains("header dead-letter-source-topic is missing"), "{}", said.out);

    let json = fixture.list(&["--limit", "2"]).await;
    assert_eq!(
        (&json["found"], &json["waiting"], json["letters"].as_array().unwrap().len()),
        (&4.into(), &3.into(), 2)
    );
    // The oldest first.
    assert_eq!(json["letters"][0]["key"], "order-1");
    assert_eq!(json["waiting_by_reason"][0]["letters"], 2);
}

#[tokio::test]
async fn filters_choose_by_reason_key_place_and_time() {
    let fixture = Fixture::new().await;
    fixture.write(vec![fixture.letter("a", 1, "refused"), fixture.letter("b", 2, "broken")]).await;
    let place = fixture.place("broken").await;
    for (arguments, found) in [
        (&["--reason", "refu"][..], 1),
        (&["--key", "b"], 1),
        (&["--key", "b", "--reason", "refused"], 0),
        (&["--letter", &place], 1),
        (&["--since", "1h"], 2),
        (&["--until", "1h"], 0),
    ] {
        assert_eq!(fixture.list(arguments).await["found"], found, "{arguments:?}");
    }
    fixture.ops("list", &["--key", "c"]).await.says(&["no letter in", "that the filters let pass"]);
}

#[tokio::test]
async fn show_tells_all_about_a_letter_also_whether_it_was_replayed() {
    let fixture = Fixture::new().await;
    fixture.write(vec![fixture.letter("order-1", 10, "refused: no such street").header(REPLAYS, "1")]).await;
    let place = fixture.place("no such street").await;
    let source = format!("{} 0/10", fixture.topic);
    let before = fixture.ops("show", &[&place]).await;
    before.says(&[
        "order-1",
        &source,
        "refused: no such street",
        "tried        5 times, replayed 1 times before",
        "0af7651916cd43dd8448eb211c80319c",
        "ce_type: ThingHappened",
        "{\n  \"offset\": 10\n}",
        "state        waiting",
    ]);
    fixture.ops("run", &[]).await.says(&["1 of 1 letters sent"]);
    fixture.ops("show", &[&place]).await.says(&["state        replayed at 20"]);
    assert_eq!(fixture.list(&["--waiting"]).await["found"], 0);
    assert_eq!(fixture.list(&[]).await["letters"][0]["state"], "replayed");
}

#[tokio::test]
async fn what_cannot_be_meant_is_refused_by_name() {
    let fixture = Fixture::new().await;
    fixture.write(vec![fixture.letter("a", 1, "broken")]).await;
    let place = fixture.place("broken").await;
    let (partition, _) = place.split_once('/').unwrap();
    let next = format!("{partition}/1");
    fixture.ops("show", &["7/0"]).await.complains(&["no letter 7/0", "has 3 partitions"]);
    fixture.ops("show", &[&next]).await.complains(&["no letter", "is 0"]);
    fixture.ops("run", &["--letter", &next]).await.complains(&["no letter", "is 0"]);
    fixture.ops("list", &["--letter", &next]).await.complains(&["no letter", "is 0"]);

    let usage = async |arguments: &[&str], complaint: &str| {
        let said = fixture.ops("run", arguments).await;
        assert!(said.code == Some(2) && said.err.contains(complaint), "{said:?}");
    };
    usage(&["--beyond-horizon"], "needs --key or --letter").await;
    usage(&["--since", "1h", "--until", "2h"], "--since is later than --until").await;
    usage(&["--letter", "seven"], "such as 3/17").await;
    usage(&["--rate", "0"], "1..=100000").await;
    usage(&["--since", "yesterday"], "expected a time").await;
    let mut unknown = fixture.command("list", &[]);
    let unknown = unknown.env_clear().args(["--", "email"]).output().unwrap();
    assert!(!unknown.status.success());

    let mut missing = std::process::Command::new(env!("CARGO_BIN_EXE_ops"));
    missing
        .args(["replay", "list", GROUP, "--topic", "no-such-topic"])
        .env("KAFKA_BROKERS", &fixture.kafka.brokers);
    let missing = String::from_utf8(missing.output().unwrap().stderr).unwrap();
    assert!(missing.contains("Kafka has no topic no-such-topic.email-service.dlq"), "{missing}");
    let mut group = std::process::Command::new(env!("CARGO_BIN_EXE_ops"));
    let group = String::from_utf8(group.args(["replay", "list", "email"]).output().unwrap().stderr).unwrap();
    assert!(group.contains("email") && group.contains("analytics-service"), "{group}");
}
