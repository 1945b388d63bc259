//! A test per column: faults of that column, one for each stage and each at another order, and the audit finds exactly these.

use chrono::Utc;
use contracts::topics::EMAIL_GROUP;
use contracts::{Envelope, event_id};
use messaging::dead_letters::retry_topic;
use messaging::headers::dead_letter::LETTER;
use messaging::partition_of;
use serde_json::json;
use uuid::Uuid;

use crate::copy::{Copy, ORDERS, cells, delivery, payload, record};
use crate::kafka;

#[tokio::test]
async fn a_healthy_system_has_no_finding_and_nothing_else_either() {
    let report = Copy::healthy().await.audit().await;
    assert_eq!(cells(&report), [], "{report}");
    assert!(report.clean && report.notes.is_empty() && report.not_checked.is_empty(), "{report}");
    let checked: Vec<_> = report.stages.iter().map(|stage| (stage.stage, stage.checked)).collect();
    let orders = ORDERS as u64;
    assert_eq!(
        checked,
        [
            ("published", orders + 2),
            ("email", orders),
            ("email-provider", orders),
            ("sms", orders),
            ("sms-provider", orders),
            ("inventory", orders),
            ("stock", 100),
            ("analytics", orders),
            ("sales", orders + 1),
        ]
    );
}

#[tokio::test]
async fn missing_is_found_in_every_stage_at_the_order_or_product_that_lost_it() {
    let mut copy = Copy::healthy().await;
    copy.sql("email", "DELETE FROM deliveries WHERE order_id = $1", 1).await;
    copy.sql("sms", "DELETE FROM deliveries WHERE order_id = $1", 2).await;
    copy.give_reservations_back(3).await;
    copy.journal.retain(|entry| {
        let of = |n: usize, channel| {
            entry["order_id"] == copy.orders[n].to_string() && entry["channel"] == channel
        };
        !of(4, "email") && !of(5, "sms")
    });
    // $1 is used for nothing but having one.
    let statement = "UPDATE stock SET on_hand = on_hand + 1 WHERE product_id = 90 AND $1::uuid IS NOT NULL";
    copy.sql("inventory", statement, 0).await;
    let statement = "UPDATE orders_per_minute SET orders = 0, revenue_cents = 0
         WHERE minute = (SELECT max(minute) FROM orders_per_minute) AND $1::uuid IS NOT NULL";
    copy.sql("analytics", statement, 0).await;
    let statement =
        "UPDATE product_sales SET quantity = quantity - 1 WHERE product_id = 8 AND $1::uuid IS NOT NULL";
    copy.sql("analytics", statement, 0).await;
    // Lost on the topic only: its effects are there.
    copy.events.remove(6);

    let report = copy.audit().await;
    let stages = report.stages.iter().map(|stage| (stage.stage, "missing", 1)).collect::<Vec<_>>();
    assert_eq!(cells(&report), stages, "{report}");
    assert!(!report.clean);
    for (stage, order) in [
        ("email", 1),
        ("sms", 2),
        ("inventory", 3),
        ("email-provider", 4),
        ("sms-provider", 5),
        ("published", 6),
    ] {
        let subject = &report.stage(stage).unwrap().examples[0].subject;
        assert_eq!(*subject, copy.orders[order].to_string(), "{stage}");
    }
    assert_eq!(report.stage("stock").unwrap().examples[0].subject, "product 90");
    assert_eq!(report.stage("sales").unwrap().examples[0].subject, "product 8");
}

#[tokio::test]
async fn an_order_whose_event_is_lost_for_good_is_missing_in_every_stage_that_follows_from_it() {
    let mut copy = Copy::healthy().await;
    copy.take_effects_back(7).await;
    copy.events.remove(7);
    let report = copy.audit().await;
    let expected =
        ["published", "email", "email-provider", "sms", "sms-provider", "inventory", "analytics", "sales"];
    let missing: Vec<_> = cells(&report);
    // Two products of the one order were not sold.
    let expected = expected.map(|stage| (stage, "missing", if stage == "sales" { 2 } else { 1 }));
    assert_eq!(missing, expected, "{report}");
}

#[tokio::test]
async fn doubled_is_found_in_every_stage() {
    let mut copy = Copy::healthy().await;
    // The same event under another id: no inbox recognises it.
    let mut twin: Envelope<serde_json::Value> = serde_json::from_slice(payload(copy.event_of(1))).unwrap();
    twin.id = Uuid::now_v7();
    copy.events.push(record(&copy.settings.topic, &twin));
    let again = "INSERT INTO deliveries SELECT gen_random_uuid(), order_id, 'another key' FROM deliveries WHERE order_id = $1";
    copy.sql("email", again, 2).await;
    copy.sql("sms", again, 3).await;
    let (mail, text) = (copy.orders[4].to_string(), copy.orders[5].to_string());
    copy.journal.push(delivery("email", "taken", "<another@orderflow>", &mail, Utc::now()));
    copy.journal.push(delivery("sms", "taken_answer_lost", "another", &text, Utc::now()));
    // More than was ordered; the stock pays for it.
    let statement = "WITH more AS (UPDATE reservations SET quantity = quantity + 1 WHERE order_id = $1 RETURNING product_id)
         UPDATE stock SET on_hand = on_hand - 1 FROM more WHERE stock.product_id = more.product_id";
    copy.sql("inventory", statement, 6).await;
    // Taken a second time.
    let statement = "UPDATE stock SET on_hand = on_hand - 3 WHERE product_id = 90 AND $1::uuid IS NOT NULL";
    copy.sql("inventory", statement, 0).await;
    let statement = "UPDATE orders_per_minute SET orders = orders + 1
         WHERE minute = (SELECT max(minute) FROM orders_per_minute) AND $1::uuid IS NOT NULL";
    copy.sql("analytics", statement, 0).await;
    let statement =
        "UPDATE product_sales SET quantity = quantity + 1 WHERE product_id = 8 AND $1::uuid IS NOT NULL";
    copy.sql("analytics", statement, 0).await;

    let report = copy.audit().await;
    let stages = report.stages.iter().map(|stage| (stage.stage, "doubled", 1)).collect::<Vec<_>>();
    assert_eq!(cells(&report), stages, "{report}");
    assert!(!report.clean);
}

#[tokio::test]
async fn an_effect_without_an_order_is_doubled_in_the_stage_that_has_it() {
    let mut copy = Copy::healthy().await;
    let nobody = Uuid::now_v7();
    let event = Envelope::new("OrderCreated", "/tests", nobody, 1, Utc::now(), json!({}));
    copy.events.push(record(&copy.settings.topic, &event));
    // The id is made from the order's, so that the statement needs no other parameter.
    let phantom =
        "INSERT INTO deliveries SELECT gen_random_uuid(), gen_random_uuid(), '' WHERE $1::uuid IS NOT NULL";
    copy.sql("email", phantom, 0).await;
    copy.sql("sms", phantom, 0).await;
    let phantom =
        "INSERT INTO reservations SELECT gen_random_uuid(), 1, 1, 'insufficient' WHERE $1::uuid IS NOT NULL";
    copy.sql("inventory", phantom, 0).await;
    for channel in ["email", "sms"] {
        copy.journal.push(delivery(channel, "taken", "a key", &nobody.to_string(), Utc::now()));
    }
    let report = copy.audit().await;
    let stages = ["published", "email", "email-provider", "sms", "sms-provider", "inventory"];
    assert_eq!(cells(&report), stages.map(|stage| (stage, "doubled", 1)), "{report}");
}

#[tokio::test]
async fn out_of_order_is_a_later_event_of_an_order_before_an_earlier_one() {
    let mut copy = Copy::healthy().await;
    let (first, second) = (ORDERS - 1, copy.events.len() - 1);
    assert_eq!(copy.events[first].key, copy.events[second].key);
    copy.events.swap(first, second);
    // Orders among each other have no order.
    copy.events.swap(0, 1);
    let report = copy.audit().await;
    assert_eq!(cells(&report), [("published", "out of order", 1)], "{report}");
    assert!(!report.clean);
}

#[tokio::test]
async fn repeated_is_shown_with_its_key_and_is_no_finding() {
    let mut copy = Copy::healthy().await;
    let twin = copy.event_of(1).clone();
    copy.events.push(twin);
    let (mail, text) = (copy.orders[2].to_string(), copy.orders[3].to_string());
    copy.journal.push(delivery("email", "repeated", "<again@orderflow>", &mail, Utc::now()));
    copy.journal.push(delivery("sms", "repeated", "again", &text, Utc::now()));
    copy.journal.push(delivery("sms", "refused", "refused", &text, Utc::now()));
    let report = copy.audit().await;
    let stages = ["published", "email-provider", "sms-provider"];
    assert_eq!(cells(&report), stages.map(|stage| (stage, "repeated", 1)), "{report}");
    assert!(report.clean);
    let shown = report.to_string();
    for key in [event_id(copy.orders[1], 1).to_string().as_str(), "<again@orderflow>", "key again"] {
        assert!(shown.contains(key), "{key} is not in {shown}");
    }
}

#[tokio::test]
async fn waiting_is_told_from_missing_by_the_outbox_the_dead_letters_and_the_groups_offsets() {
    let mut copy = Copy::healthy().await;
    copy.take_effects_back(0).await;
    copy.take_effects_back(1).await;
    copy.unpublish(1).await;
    copy.unpublish(0).await;
    let block = "INSERT INTO outbox_blocked SELECT aggregate_id, bucket, id, 'too large' FROM outbox WHERE aggregate_id = $1";
    copy.sql("orders", block, 0).await;

    // Dead letters excuse an absent effect of their group, and no other.
    let mut letter = copy.event_of(2).clone();
    letter.topic = format!("{}.{EMAIL_GROUP}.dlq", copy.settings.topic);
    copy.sql("email", "DELETE FROM deliveries WHERE order_id = $1", 2).await;
    copy.sql("sms", "DELETE FROM deliveries WHERE order_id = $1", 2).await;
    kafka::publish(&copy.settings.kafka, vec![letter]).await;

    // This group has read nothing.
    copy.through.retain(|group| *group != "inventory-service");
    copy.give_reservations_back(3).await;

    let report = copy.audit().await;
    let expected = [
        ("published", "waiting", 2),
        ("email", "waiting", 3),
        // The provider has the mail of order 2: that its note is missing does not concern it.
        ("email-provider", "waiting", 2),
        ("sms", "missing", 1),
        ("sms", "waiting", 2),
        ("sms-provider", "waiting", 2),
        ("inventory", "waiting", 3),
        ("analytics", "waiting", 2),
    ];
    assert_eq!(cells(&report), expected, "{report}");
    let shown = report.to_string();
    for text in
        ["is blocked: too large", "in the dead letters", "not yet read by the group", "inventory-service was"]
    {
        assert!(shown.contains(text), "{text:?} is not in {shown}");
    }
}

#[tokio::test]
async fn a_dead_letter_whose_effect_came_after_all_is_history_and_nothing_waits() {
    let mut copy = Copy::healthy().await;
    for group in kafka::GROUPS {
        let mut letter = copy.event_of(2).clone();
        letter.topic = format!("{}.{group}.dlq", copy.settings.topic);
        kafka::publish(&copy.settings.kafka, vec![letter]).await;
    }
    let report = copy.audit().await;
    assert_eq!(cells(&report), [], "{report}");
    assert!(report.clean && report.to_string().contains("Clean: nothing missing"), "{report}");
}

#[tokio::test]
async fn a_dead_letter_that_went_back_excuses_nothing_once_its_group_has_read_it_again() {
    let mut copy = Copy::healthy().await;
    let (kafka, topic) = (copy.settings.kafka.clone(), copy.settings.topic.clone());
    let retry = retry_topic(&topic, EMAIL_GROUP);
    let mut places: Vec<String> = Vec::new();
    // Order 1 has a second letter: its replay failed.
    for n in [0, 1, 2, 1] {
        let mut letter = copy.event_of(n).clone();
        let partition = partition_of(letter.key.as_deref().unwrap(), 3);
        let offset = places.iter().filter(|place| place.starts_with(&format!("{partition}/"))).count();
        places.push(format!("{partition}/{offset}"));
        letter.topic = format!("{topic}.{EMAIL_GROUP}.dlq");
        kafka::publish(&kafka, vec![letter]).await;
    }
    let replay = |n: usize| {
        let mut replay = copy.event_of(n).clone().header(LETTER, &places[n]);
        replay.topic.clone_from(&retry);
        replay
    };
    let (read, unread) = (vec![replay(0), replay(1)], vec![replay(2)]);
    kafka::publish(&kafka, read).await;
    kafka::commit_the_end(&kafka, &retry, EMAIL_GROUP).await;
    kafka::publish(&kafka, unread).await;
    for n in 0..3 {
        copy.sql("email", "DELETE FROM deliveries WHERE order_id = $1", n).await;
    }

    let report = copy.audit().await;
    assert_eq!(cells(&report), [("email", "missing", 1), ("email", "waiting", 2)], "{report}");
    let missing = &report.stage("email").unwrap().examples[0];
    assert_eq!(missing.subject, copy.orders[0].to_string(), "{report}");
    assert_eq!(report.notes, ["email-service was 1 records behind when the wait was over"]);
}

#[tokio::test]
async fn skipped_events_are_shown_with_who_and_why_and_neither_they_nor_their_effects_are_missing() {
    let mut copy = Copy::healthy().await;
    copy.take_effects_back(4).await;
    copy.events.remove(4);
    let table = "CREATE TABLE IF NOT EXISTS outbox_skipped (event_id uuid PRIMARY KEY, topic text NOT NULL, aggregate_id uuid NOT NULL,
         sequence bigint NOT NULL, event_type text NOT NULL, payload json NOT NULL, created_at timestamptz NOT NULL,
         reason text NOT NULL, skipped_at timestamptz NOT NULL DEFAULT now(), skipped_by text NOT NULL, skipped_why text NOT NULL)";
    copy.create_in_orders(table).await;
    copy.skip(4, "ann", "the customer is deceased").await;
    let report = copy.audit().await;
    let stages = ["published", "email", "email-provider", "sms", "sms-provider", "inventory", "analytics"];
    assert_eq!(cells(&report), stages.map(|stage| (stage, "skipped", 1)), "{report}");
    assert!(report.clean);
    assert!(report.to_string().contains("skipped by ann: the customer is deceased"), "{report}");
}

#[tokio::test]
async fn records_that_are_no_events_are_a_note_and_no_finding() {
    let mut copy = Copy::healthy().await;
    let mut foreign = copy.event_of(0).clone();
    foreign.payload = Some(b"no event of ours".to_vec());
    copy.events.push(foreign);
    let report = copy.audit().await;
    assert_eq!(cells(&report), [], "{report}");
    assert_eq!(report.notes, ["1 records on the topic are no events of ours"]);
}
