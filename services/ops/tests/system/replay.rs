//! Dead letters that come back once their cause is mended.

use contracts::topics::EMAIL_GROUP;
use serde_json::Value;
use testkit::{PATIENCE, eventually};
use tokio::process::Command;
use uuid::Uuid;

use crate::audit::{distinct, execute, number};
use crate::system::{PROVIDERS, System, system};
use crate::topics::{self, GROUPS};

const ORDERS: usize = 5;
/// Part of what the database says of a row that breaks the rule.
const REASON: &str = "no_deliveries";

impl System {
    /// The e-mail database takes no delivery, which looks like the fault of each order's data.
    async fn refuse_deliveries(&self) {
        let rule = "ALTER TABLE deliveries ADD CONSTRAINT no_deliveries CHECK (false) NOT VALID";
        execute(&self.databases.email, rule).await;
    }

    /// It takes them again.
    pub(crate) async fn accept_deliveries(&self) {
        execute(&self.databases.email, "ALTER TABLE deliveries DROP CONSTRAINT IF EXISTS no_deliveries")
            .await;
    }

    /// What `ops replay COMMAND email-service ..` says.
    async fn replay(&self, command: &str, arguments: &[&str]) -> String {
        let mut ops = Command::new(env!("CARGO_BIN_EXE_ops"));
        ops.args(["replay", command, EMAIL_GROUP]).args(arguments).env("KAFKA_BROKERS", self.kafka_brokers());
        let output = ops.output().await.expect("ops runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }

    /// Everything of the other three groups that a replay could touch.
    async fn others(&self) -> Vec<String> {
        let mut seen = Vec::new();
        for group in GROUPS.iter().filter(|group| **group != EMAIL_GROUP) {
            seen.push(format!("{group} {:?}", topics::committed(self.kafka_brokers(), group).await));
        }
        for database in [&self.databases.sms, &self.databases.inventory, &self.databases.analytics] {
            seen.push(number(database, "SELECT count(*) FROM inbox").await.to_string());
        }
        let deliveries = self.get(PROVIDERS, "/api/deliveries").await;
        seen.push(deliveries["sms"].to_string());
        seen
    }
}

/// Waits until the e-mails of that many of these orders are noted.
async fn deliveries_of(system: &System, orders: &[Uuid], expected: usize) {
    let ids: Vec<String> = orders.iter().map(|order| format!("'{order}'")).collect();
    let query = format!("SELECT count(*) FROM deliveries WHERE order_id IN ({})", ids.join(","));
    eventually("the e-mails in the database", async || {
        let pool = system.databases.email.pool().await;
        let noted: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(query.clone())).fetch_one(&pool).await?;
        anyhow::ensure!(noted == expected as i64, "{noted} of {expected}");
        Ok::<_, anyhow::Error>(())
    })
    .await;
}

#[tokio::test]
async fn dead_letters_come_back_to_the_group_that_gave_them_up_and_reach_no_other() {
    let system = system().await;
    let brokers = system.kafka_brokers();
    let before = topics::dead_letter_counts(brokers).await;
    let replays = topics::replay_counts(brokers).await;
    system.refuse_deliveries().await;
    let orders = system.shop.accepted_orders(ORDERS).await;
    eventually("their dead letters", async || {
        let grown = topics::dead_letter_counts(brokers).await[EMAIL_GROUP] - before[EMAIL_GROUP];
        if grown == ORDERS { Ok(()) } else { Err(format!("{grown} letters")) }
    })
    .await;
    let report = system.audit(PATIENCE).await;
    let waiting = report.stage("email").map(|stage| stage.waiting);
    assert!(report.clean && waiting == Some(ORDERS as u64), "{report}");
    let list: Value =
        serde_json::from_str(&system.replay("list", &["--reason", REASON, "--waiting", "--json"]).await)
            .expect("JSON");
    assert_eq!(list["waiting"], ORDERS, "{list}");
    deliveries_of(&system, &orders, 0).await;

    system.accept_deliveries().await;
    let others = system.others().await;
    let said = system.replay("run", &["--reason", REASON]).await;
    assert!(said.contains(&format!("{ORDERS} of {ORDERS} letters sent")), "{said}");
    deliveries_of(&system, &orders, ORDERS).await;
    for order in &orders {
        let deliveries = system.get(PROVIDERS, &format!("/api/deliveries/{order}")).await;
        assert_eq!((distinct(&deliveries, "email"), distinct(&deliveries, "sms")), (1, 1), "{deliveries}");
    }
    // The letters are still there, and excuse nothing that is missing and hide nothing that is there.
    system.every_order_took_effect_once().await;
    system.were_accepted_and_applied(&orders).await;
    assert_eq!(system.others().await, others);

    let said = system.replay("run", &["--reason", REASON]).await;
    assert!(said.contains("nothing to send"), "{said}");
    let mut expected = replays;
    expected.insert(EMAIL_GROUP, expected[EMAIL_GROUP] + ORDERS as i64);
    assert_eq!(topics::replay_counts(brokers).await, expected);
    assert_eq!(topics::dead_letter_counts(brokers).await[EMAIL_GROUP], before[EMAIL_GROUP] + ORDERS);
}
