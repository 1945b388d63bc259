//! `ops held` on a consumer's database.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::{Command, Output};

use contracts::topics::ORDER_EVENTS;
use persistence::held::{HeldRows, Place, Record};
use testkit::{Servers, TestDatabase};

const GROUP: &str = "email-service";

struct Fixture {
    database: TestDatabase,
    rows: HeldRows,
}

impl Fixture {
    async fn new() -> Self {
        let database = Servers::shared().await.database("email").await.migrated().await;
        Self { rows: HeldRows::new(database.pool().await), database }
    }

    async fn hold(&self, key: &str, offsets: &[i64]) {
        let records: Vec<Record> = offsets.iter().map(|offset| record(key, *offset)).collect();
        self.rows.hold(&records).await.unwrap();
    }

    async fn ops(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ops"));
        command.arg("held").args(arguments).env("EMAIL_DATABASE_URL", self.database.url());
        for other in ["SMS", "INVENTORY", "ANALYTICS"] {
            command.env(format!("{other}_DATABASE_URL"), "postgres://nobody:nobody@127.0.0.1:1/none");
        }
        let Output { status, stdout, stderr } =
            tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (status.code(), text(stdout), text(stderr))
    }
}

fn record(key: &str, offset: i64) -> Record {
    Record { topic: ORDER_EVENTS.to_owned(), key: key.as_bytes().to_vec(), offset }
}

#[tokio::test]
async fn held_keys_are_listed_the_longest_held_first_with_what_waits() {
    let fixture = Fixture::new().await;
    assert_eq!(fixture.ops(&["list", GROUP]).await, (Some(0), "no key is held\n".to_owned(), String::new()));
    fixture.hold("order-2", &[40]).await;
    fixture.hold("order-1", &[17, 12, 30]).await;
    let (status, listed, _) = fixture.ops(&["list", GROUP]).await;
    let lines: Vec<&str> = listed.lines().collect();
    assert_eq!((status, lines.len()), (Some(0), 3), "{listed}");
    assert!(lines[1].contains("order-2") && lines[1].ends_with("1  order.events from 40"), "{listed}");
    assert!(lines[2].contains("order-1") && lines[2].ends_with("3  order.events from 12"), "{listed}");
    let (_, listed, _) = fixture.ops(&["list", GROUP, "--limit", "1"]).await;
    assert!(listed.contains("order-2") && !listed.contains("order-1"), "{listed}");
}

#[tokio::test]
async fn a_group_whose_keys_cannot_be_read_is_named_and_the_others_are_listed() {
    let fixture = Fixture::new().await;
    fixture.hold("order-1", &[1]).await;
    let (status, listed, said) = fixture.ops(&["list"]).await;
    assert_eq!(status, Some(1), "{said}");
    assert!(listed.contains("order-1"), "{listed}");
    assert!(said.contains("not everything could be read: sms-service: "), "{said}");
}

#[tokio::test]
async fn a_key_that_is_released_is_free_for_its_later_records_and_other_keys_stay_held() {
    let fixture = Fixture::new().await;
    fixture.hold("order-1", &[17, 12]).await;
    fixture.hold("order-2", &[40]).await;
    let later = [record("order-1", 50), record("order-2", 50)];
    assert_eq!(fixture.rows.places(&later).await.unwrap(), [Place::Behind, Place::Behind]);

    let (status, said, _) = fixture.ops(&["release", GROUP, "order-1"]).await;
    assert_eq!(status, Some(0), "{said}");
    assert!(
        said.contains("later records of it are handled from now on. 2 records of it were held"),
        "{said}"
    );
    assert_eq!(fixture.rows.places(&later).await.unwrap(), [Place::Free, Place::Behind]);

    for wrong in [&["order-1"][..], &["order-2", "--topic", "another.events"]] {
        let (status, _, said) = fixture.ops(&[&["release", GROUP], wrong].concat()).await;
        assert_eq!(status, Some(1), "{said}");
        assert!(said.contains("email-service does not hold key"), "{said}");
    }
    assert_eq!(fixture.rows.places(&later).await.unwrap(), [Place::Free, Place::Behind]);
}
