//! Runs that end before they are through.

use std::collections::BTreeSet;
use std::process::{Child, Command, Stdio};

use messaging::dead_letters::{replayed, retry_topic};
use messaging::partition_of;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use testkit::eventually;

use crate::fixture::{Fixture, GROUP, Said};

const LETTERS: i64 = 60;

/// A slow run, as soon as `enough` letters are back.
async fn run_until(fixture: &Fixture, enough: usize) -> Child {
    let mut command = fixture.command("run", &["--rate", "20"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    eventually("the run is on its way", async || match fixture.retried().await.len() {
        back if back >= enough => Ok(()),
        back => Err(format!("{back} letters")),
    })
    .await;
    child
}

#[tokio::test]
async fn a_run_that_was_interrupted_or_killed_goes_on_where_it_stopped() {
    let fixture = Fixture::new().await;
    let letters = (0..LETTERS).map(|n| fixture.letter(&format!("order-{n}"), n, "broken")).collect();
    fixture.write(letters).await;

    let interrupted = run_until(&fixture, 1).await;
    Command::new("kill").args(["-INT", &interrupted.id().to_string()]).status().unwrap();
    let said = Said::from(interrupted.wait_with_output().unwrap());
    let said = said.complains(&["stopped after", "the same command goes on there", "interrupted"]);
    let first = fixture.retried().await.len();
    assert!(said.out.contains(&format!("{first} of {LETTERS} letters sent")), "{said:?}");

    let mut killed = run_until(&fixture, first + 1).await;
    killed.kill().unwrap();
    killed.wait().unwrap();
    let second = fixture.retried().await.len();
    let rest = LETTERS as usize - second;
    assert!(rest > 0, "the run was over before it was killed");

    let all = format!("{rest} of {rest} letters sent");
    fixture.ops("run", &[]).await.says(&[&all]);
    let back: Vec<_> = fixture.retried().await.iter().map(|record| replayed(record).unwrap()).collect();
    assert_eq!(
        (back.len(), back.iter().collect::<BTreeSet<_>>().len()),
        (LETTERS as usize, LETTERS as usize)
    );
}

#[tokio::test]
async fn a_letter_that_kafka_refuses_stops_the_run_and_is_named_even_if_it_went_with_others() {
    let fixture = Fixture::new().await;
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", &fixture.kafka.brokers).create().unwrap();
    let retry = retry_topic(&fixture.topic, GROUP);
    let limit = AlterConfig::new(ResourceSpecifier::Topic(&retry)).set("max.message.bytes", "4000");
    admin.alter_configs([&limit], &AdminOptions::new()).await.unwrap();
    let mut large = fixture.letter("order-1", 1, "large");
    // Random text: what is compressed well would pass.
    large.payload = Some((0..200).map(|_| uuid::Uuid::new_v4().to_string()).collect::<String>().into());
    // On one partition, so that they are one batch for Kafka: it refuses all of them for the one.
    let partition = partition_of(b"order-1", 3);
    let keys = (2..).map(|n| format!("order-{n}")).filter(|key| partition_of(key.as_bytes(), 3) == partition);
    let keys: Vec<String> = keys.take(2).collect();
    let (small, last) = (fixture.letter(&keys[0], 0, "small"), fixture.letter("order-1", 2, "last"));
    fixture.write(vec![small, large, last, fixture.letter(&keys[1], 3, "small")]).await;
    let place = fixture.place("large").await;

    let said = fixture.ops("run", &["--rate", "1000"]).await;
    let refused = format!("letter {place}: refused by Kafka");
    let said = said.complains(&["stopped after 1 letters, 3 are still to be sent", &refused]);
    assert!(said.out.contains("1 of 4 letters sent"), "{said:?}");
    // The one after it waits for it: they are of one key.
    let back: Vec<_> = fixture.retried().await.into_iter().map(|record| record.key).collect();
    assert_eq!(back, [keys[0].as_bytes()]);

    // The key is not held, so the others need not wait for it.
    fixture.ops("run", &["--except", &place]).await.says(&["2 of 2 letters sent", "1 outside the filters"]);
}
