//! Parts of the whole: a window, a topic that retention has cut, a provider that cannot be asked.

use chrono::{TimeDelta, Utc};
use ops::audit::{Provider, audit};

use crate::copy::{Copy, ORDERS, cells};
use crate::kafka;

/// Orders were accepted a minute apart, the first an hour ago.
fn accepted(n: i64) -> chrono::DateTime<Utc> {
    Utc::now() - TimeDelta::minutes(60 - n)
}

#[tokio::test]
async fn a_window_finds_what_is_wrong_in_it_and_nothing_of_what_is_wrong_outside() {
    let mut copy = Copy::healthy().await;
    for n in [1, 10, 18] {
        copy.sql("email", "DELETE FROM deliveries WHERE order_id = $1", n).await;
        copy.give_reservations_back(n).await;
    }
    let half = TimeDelta::seconds(30);
    copy.settings.since = Some(accepted(5) - half);
    copy.settings.until = Some(accepted(14) + half);
    let report = copy.audit().await;
    let checked = report.stage("email").unwrap().checked;
    assert!((9..=11).contains(&checked), "{report}");
    assert_eq!(cells(&report), [("email", "missing", 1), ("inventory", "missing", 1)], "{report}");
    assert_eq!(report.stage("email").unwrap().examples[0].subject, copy.orders[10].to_string());
    assert!(report.stage("sales").is_none());
    assert_eq!(report.not_checked.len(), 2, "{report}");
}

#[tokio::test]
async fn a_minute_of_the_window_that_was_counted_wrongly_is_found() {
    let mut copy = Copy::healthy().await;
    // Orders 4 to 15 are in the window, so the sixth minute after its beginning is, and so is what was counted in it.
    let statement = "UPDATE orders_per_minute SET orders = orders + 1 WHERE minute =
         (SELECT minute FROM orders_per_minute ORDER BY minute OFFSET 10 LIMIT 1) AND $1::uuid IS NOT NULL";
    copy.sql("analytics", statement, 0).await;
    copy.settings.since = Some(accepted(4));
    copy.settings.until = Some(accepted(15));
    let report = copy.audit().await;
    assert_eq!(cells(&report), [("analytics", "doubled", 1)], "{report}");
}

#[tokio::test]
async fn what_retention_removed_is_out_of_sight_and_not_missing_and_the_effects_are_checked_all_the_same() {
    let mut copy = Copy::healthy().await;
    copy.sql("sms", "DELETE FROM deliveries WHERE order_id = $1", 3).await;
    copy.finish().await;
    kafka::remove_all_records(&copy.settings.kafka, &copy.settings.topic).await;
    let report = audit(&copy.settings).await.unwrap();
    let events = ORDERS as u64 + 2;
    assert_eq!(cells(&report), [("published", "out of sight", events), ("sms", "missing", 1)], "{report}");
    assert!(report.notes[0].starts_with("retention has removed 22 events"), "{report}");
}

#[tokio::test]
async fn without_a_provider_that_can_be_asked_deliveries_are_said_not_to_be_checked() {
    let mut copy = Copy::healthy().await;
    copy.finish().await;
    copy.settings.provider = Provider::NotAsked;
    let report = audit(&copy.settings).await.unwrap();
    assert_eq!(cells(&report), [], "{report}");
    assert!(report.stage("email-provider").is_none() && report.stage("sms-provider").is_none());
    assert_eq!(report.not_checked, ["what the provider has delivered"]);
}
