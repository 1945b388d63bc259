//! What an operator does with a consumer group: pause it, have it read again, and let it go on.

use contracts::topics::{EMAIL_GROUP, ORDER_EVENTS};
use messaging::KafkaSettings;
use messaging::reader::TopicReader;
use serde_json::Value;
use testkit::{PATIENCE, eventually};
use uuid::Uuid;

use crate::audit::number;
use crate::system::{PROVIDERS, System, system};
use crate::topics::{self, GROUPS};

impl System {
    async fn pause(&self, group: &str) {
        let said = self.ops(&["pause", group, "--why", "a test", "--wait", "60s"]).await;
        assert!(said.contains(&format!("{group} is paused")), "{said}");
    }

    async fn resume(&self, group: &str) {
        let said = self.ops(&["resume", group]).await;
        assert!(said.contains(&format!("{group} goes on; it was paused since")), "{said}");
    }

    /// The row of a group in `ops groups`, which is asked again as long as it could not read everything.
    async fn group(&self, group: &str) -> Value {
        let said = eventually("ops groups reads everything", || self.try_ops(&["groups", "--json"])).await;
        let groups: Vec<Value> = serde_json::from_str(&said).expect("JSON");
        groups.into_iter().find(|row| row["group"] == group).expect("a row for each group")
    }

    async fn committed(&self, group: &str) -> Vec<Option<i64>> {
        let kafka = KafkaSettings { brokers: self.kafka_brokers().to_owned() };
        let reader = TopicReader::connect(&kafka, ORDER_EVENTS, PATIENCE).await.expect("the topic is there");
        reader.committed(group).await.expect("Kafka answers")
    }

    async fn emails(&self) -> i64 {
        number(&self.databases.email, "SELECT count(*) FROM deliveries").await
    }

    /// All that the consumers have ever done, in the databases and at the provider.
    async fn effects(&self) -> (Vec<i64>, Value) {
        let databases = &self.databases;
        let counts = [
            number(&databases.email, "SELECT count(*) FROM deliveries").await,
            number(&databases.email, "SELECT count(*) FROM inbox").await,
            number(&databases.sms, "SELECT count(*) FROM deliveries").await,
            number(&databases.sms, "SELECT count(*) FROM inbox").await,
            number(&databases.inventory, "SELECT count(*) FROM reservations").await,
            number(&databases.inventory, "SELECT sum(on_hand)::bigint FROM stock").await,
            number(&databases.inventory, "SELECT count(*) FROM inbox").await,
            number(&databases.analytics, "SELECT sum(orders)::bigint FROM orders_per_minute").await,
            number(&databases.analytics, "SELECT sum(quantity)::bigint FROM product_sales").await,
            number(&databases.analytics, "SELECT count(*) FROM inbox").await,
        ];
        (counts.to_vec(), self.get(PROVIDERS, "/api/deliveries").await)
    }

    /// Every group reads the whole topic again, after `change` has set them back, and does nothing.
    async fn read_all_again(&self, orders: &[Uuid], change: impl AsyncFnOnce(&System)) {
        self.every_order_took_effect_once().await;
        let (before, letters) =
            (self.effects().await, topics::dead_letter_counts(self.kafka_brokers()).await);
        for group in GROUPS {
            self.pause(group).await;
        }
        change(self).await;
        for group in GROUPS {
            assert!(self.group(group).await["lag"].as_i64() >= Some(30), "{group} has nothing to read again");
            self.resume(group).await;
        }
        // Its first step waits until all groups are through.
        self.every_order_took_effect_once().await;
        assert_eq!(self.effects().await, before);
        assert_eq!(topics::dead_letter_counts(self.kafka_brokers()).await, letters);
        self.were_accepted_and_applied(orders).await;
    }
}

#[tokio::test]
async fn a_paused_group_has_no_members_and_its_orders_wait_until_it_is_resumed_also_across_a_restart() {
    let mut system = system().await;
    system.every_order_took_effect_once().await;
    system.pause(EMAIL_GROUP).await;
    let row = system.group(EMAIL_GROUP).await;
    assert_eq!(
        (&row["members"], &row["paused"]["by"], &row["paused"]["why"]),
        (&0.into(), &"ada".into(), &"a test".into())
    );
    let before = system.emails().await;

    let orders = system.shop.accepted_orders(10).await;
    system.service_mut("email-consumer").restart_unready();
    eventually("the orders wait for e-mails only", async || {
        let [email, sms] = [system.group(EMAIL_GROUP).await, system.group("sms-service").await];
        let waits = (email["lag"].as_i64(), sms["lag"].as_i64());
        if waits == (Some(10), Some(0)) { Ok(()) } else { Err(format!("{waits:?}")) }
    })
    .await;
    // It has read the word before it could join.
    eventually("the new process says that it is paused", async || {
        let log = system.service("email-consumer").log();
        if log.matches("the group is paused").count() >= 2 { Ok(()) } else { Err("not yet") }
    })
    .await;
    assert_eq!(
        (system.group(EMAIL_GROUP).await["members"].as_i64(), system.emails().await),
        (Some(0), before)
    );
    let said = system.ops(&["pause", EMAIL_GROUP, "--why", "another reason"]).await;
    assert!(said.contains("was paused before, since") && said.contains("by ada: a test"), "{said}");

    system.resume(EMAIL_GROUP).await;
    system.ready().await;
    system.every_order_took_effect_once().await;
    system.were_accepted_and_applied(&orders).await;
    let said = system.ops(&["resume", EMAIL_GROUP]).await;
    assert_eq!(said, "email-service was not paused\n");
}

#[tokio::test]
async fn pausing_a_group_that_does_not_run_says_so_and_holds_for_the_consumer_that_starts() {
    let mut system = system().await;
    system.every_order_took_effect_once().await;
    system.service_mut("sms-consumer").terminate().await;
    // A process that ends waits two seconds at most for Kafka to confirm that it has left.
    eventually("the group has no members", async || match &system.group("sms-service").await["members"] {
        members if *members == 0 => Ok(()),
        members => Err(members.clone()),
    })
    .await;
    let said = system.ops(&["pause", "sms-service", "--why", "a test"]).await;
    assert!(said.contains("Members were not seen before either"), "{said}");
    system.service_mut("sms-consumer").restart_unready();
    let orders = system.shop.accepted_orders(5).await;
    eventually("it says that it is paused", async || {
        let log = system.service("sms-consumer").log();
        if log.contains("the group is paused") { Ok(()) } else { Err("not yet") }
    })
    .await;
    assert_eq!(system.group("sms-service").await["members"], 0);
    system.resume("sms-service").await;
    system.ready().await;
    system.every_order_took_effect_once().await;
    system.were_accepted_and_applied(&orders).await;
}

#[tokio::test]
async fn groups_that_are_rewound_to_the_start_read_everything_again_and_double_nothing() {
    let system = system().await;
    let rewind = async |system: &System| {
        for group in GROUPS {
            let said = system.ops(&["rewind", group, "--to", "earliest"]).await;
            assert!(said.contains(&format!("are delivered to {group} again")), "{said}");
            let committed = system.committed(group).await;
            assert!(committed.iter().flatten().all(|offset| *offset == 0), "{committed:?}");
        }
    };
    let orders = system.shop.accepted_orders(30).await;
    system.read_all_again(&orders, rewind).await;
}

#[tokio::test]
async fn groups_that_lost_their_offsets_double_nothing() {
    let system = system().await;
    let lose = async |system: &System| {
        topics::delete_groups(system.kafka_brokers(), &GROUPS).await;
        for group in GROUPS {
            assert_eq!(system.committed(group).await.iter().flatten().count(), 0, "{group}");
        }
    };
    let orders = system.shop.accepted_orders(30).await;
    system.read_all_again(&orders, lose).await;
}

#[tokio::test]
async fn a_rewind_refuses_a_running_group_and_moves_nothing_forward_and_a_dry_run_moves_nothing() {
    let system = system().await;
    let orders: Vec<Uuid> = system.shop.accepted_orders(30).await;
    system.every_order_took_effect_once().await;
    let all = system.committed(EMAIL_GROUP).await;
    let refused = system.try_ops(&["rewind", EMAIL_GROUP, "--to", "earliest"]).await.unwrap_err();
    assert!(
        refused.contains("email-service has members (1)") && refused.contains("ops pause email-service"),
        "{refused}"
    );
    let said = system.ops(&["rewind", EMAIL_GROUP, "--to", "earliest", "--dry-run"]).await;
    assert!(said.contains("Nothing was changed"), "{said}");
    let refused =
        system.try_ops(&["rewind", EMAIL_GROUP, "--to", "earliest", "--partition", "12"]).await.unwrap_err();
    assert!(refused.contains("order.events has no partition 12: they are 0 to 11"), "{refused}");
    assert_eq!(system.committed(EMAIL_GROUP).await, all);

    system.pause(EMAIL_GROUP).await;
    let with_records: Vec<usize> = (0..12).filter(|partition| all[*partition] > Some(0)).collect();
    let (one, rest) = (with_records[0], &with_records[1..]);
    system.ops(&["rewind", EMAIL_GROUP, "--to", "earliest", "--partition", &one.to_string()]).await;
    let mut expected = all.clone();
    expected[one] = Some(0);
    assert_eq!(
        system.committed(EMAIL_GROUP).await,
        expected,
        "one partition was named, and {rest:?} were not"
    );
    // Nothing is as young as now, so every partition is before that already.
    let said = system.ops(&["rewind", EMAIL_GROUP, "--to", "0s"]).await;
    assert!(said.contains("nothing was changed"), "{said}");
    assert_eq!(system.committed(EMAIL_GROUP).await, expected);

    system.resume(EMAIL_GROUP).await;
    system.every_order_took_effect_once().await;
    system.were_accepted_and_applied(&orders).await;
}

#[tokio::test]
async fn a_rewind_behind_the_inboxs_horizon_warns_of_it() {
    let system = system().await;
    system.shop.accepted_orders(5).await;
    system.every_order_took_effect_once().await;
    system.pause("analytics-service").await;
    let analytics = &system.databases.analytics;
    let rewind = ["rewind", "analytics-service", "--to", "earliest", "--dry-run"];
    number(analytics, "UPDATE inbox_horizon SET pruned_up_to = now() RETURNING 0::bigint").await;
    let (.., behind) = system.run_ops(&rewind).await;
    // Nothing was ever pruned.
    number(analytics, "UPDATE inbox_horizon SET pruned_up_to = '-infinity' RETURNING 0::bigint").await;
    let (.., within) = system.run_ops(&rewind).await;
    assert!(behind.contains("warning: ") && behind.contains("beyond-horizon"), "{behind}");
    assert_eq!(within, "");
    system.resume("analytics-service").await;
}
