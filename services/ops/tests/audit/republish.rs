//! `ops republish`: what the audit calls missing goes back into the outbox, and nothing else does.

use contracts::event_id;
use uuid::Uuid;

use crate::command::ops;
use crate::copy::{Copy, ORDERS, cells};
use crate::kafka;

/// What it printed, or what it complained about.
async fn republish(copy: &Copy, arguments: &[&str]) -> Result<String, String> {
    let (url, _) = copy.orders_database();
    let arguments =
        [&["republish", "--topic", &copy.settings.topic, "--orders-database-url", url], arguments].concat();
    let output = ops(&copy.settings, &arguments).await;
    let text = |bytes| String::from_utf8(bytes).unwrap();
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

/// The events in the outbox, by order.
async fn outbox(copy: &Copy) -> Vec<(Uuid, Uuid, i64, String, String)> {
    let (_, pool) = copy.orders_database();
    let query =
        "SELECT aggregate_id, event_id, sequence, event_type, topic FROM outbox ORDER BY aggregate_id";
    sqlx::query_as(query).fetch_all(pool).await.unwrap()
}

fn first_event(copy: &Copy, n: usize) -> (Uuid, Uuid, i64, String, String) {
    let (order, topic) = (copy.orders[n], copy.settings.topic.clone());
    (order, event_id(order, 1), 1, "OrderCreated".to_owned(), topic)
}

#[tokio::test]
async fn missing_events_go_into_the_outbox_once_and_those_that_wait_or_were_skipped_do_not() {
    let mut copy = Copy::healthy().await;
    copy.unpublish(9).await;
    for n in [3, 7, 5] {
        copy.lose(n);
    }
    copy.skip(5, "ada", "a test order").await;
    copy.finish().await;

    let said = republish(&copy, &["--missing", "--dry-run"]).await.unwrap();
    assert!(said.contains("2 of 22 events") && said.contains("(1 wait there, 1 were skipped"), "{said}");
    assert!(said.contains(&format!("order {}, event 1", copy.orders[3])), "{said}");
    assert!(said.contains("2 events would be put into the outbox") && said.contains("Nothing was changed"));
    assert_eq!(outbox(&copy).await, [first_event(&copy, 9)], "a dry run changes nothing");

    let said = republish(&copy, &["--missing"]).await.unwrap();
    assert!(said.contains("2 events were put into the outbox; 0 were in it already"), "{said}");
    let expected = [3, 7, 9].map(|n| first_event(&copy, n));
    assert_eq!(outbox(&copy).await, expected);
    let report = ops::audit::audit(&copy.settings).await.unwrap();
    assert_eq!(cells(&report)[..2], [("published", "waiting", 3), ("published", "skipped", 1)], "{report}");

    let said = republish(&copy, &["--missing"]).await.unwrap();
    assert!(said.contains("0 of 22 events") && said.contains("(3 wait there"), "{said}");
    assert_eq!(outbox(&copy).await, expected);
}

#[tokio::test]
async fn a_dry_run_waits_for_no_lock_and_takes_no_number_from_the_outbox() {
    let mut copy = Copy::healthy().await;
    copy.lose(3);
    copy.finish().await;
    let (_, pool) = copy.orders_database();
    let mut somebody = pool.begin().await.unwrap();
    sqlx::query("SELECT FROM orders FOR UPDATE").execute(&mut *somebody).await.unwrap();
    let last_number = "SELECT last_value::text || is_called FROM outbox_id_seq";
    let before: String = sqlx::query_scalar(last_number).fetch_one(pool).await.unwrap();
    let said = republish(&copy, &["--missing", "--dry-run"]).await.unwrap();
    assert!(said.contains("1 events would be put into the outbox"), "{said}");
    let after: String = sqlx::query_scalar(last_number).fetch_one(pool).await.unwrap();
    assert_eq!(after, before);
}

#[tokio::test]
async fn what_is_older_than_the_topic_remembers_is_put_back_only_by_name_or_since_and_with_the_time_of_its_event()
 {
    let mut copy = Copy::healthy().await;
    copy.lose(3);
    copy.lose(4);
    copy.finish().await;
    // The topic keeps an hour. Both events were of the moment before their orders; one order does not tell.
    let age = "UPDATE orders SET created_at = created_at - interval '2 hours' WHERE id = $1";
    copy.sql("orders", age, 3).await;
    copy.sql("orders", age, 4).await;
    let date = "UPDATE orders SET occurred_at = created_at - interval '30 seconds' WHERE id = $1";
    copy.sql("orders", date, 3).await;

    for arguments in [&["--missing"][..], &["--missing", "--dry-run"]] {
        let said = republish(&copy, arguments).await.unwrap_err();
        assert!(said.contains("nothing was put back") && said.contains("say --since"), "{said}");
    }
    assert_eq!(outbox(&copy).await, []);

    let said = republish(&copy, &["--missing", "--since", "5h"]).await.unwrap_err();
    assert!(said.contains("1 events were left out") && said.contains("orders/0006"), "{said}");
    assert!(said.contains("warning: 1 of them") && said.contains("beyond-horizon"), "{said}");
    assert_eq!(outbox(&copy).await, [first_event(&copy, 3)]);
    let said = republish(&copy, &[&copy.orders[4].to_string()]).await.unwrap_err();
    assert!(said.contains("1 events were left out"), "{said}");
    assert_eq!(outbox(&copy).await.len(), 1);
}

#[tokio::test]
async fn a_window_that_ended_before_the_events_were_put_back_finds_them_in_the_outbox() {
    let mut copy = Copy::healthy().await;
    copy.lose(3);
    copy.finish().await;
    // The orders are older than a minute.
    for (missing, waiting) in [(1, 0), (0, 1)] {
        let said = republish(&copy, &["--missing", "--until", "1m"]).await.unwrap();
        assert!(said.contains(&format!("{missing} of 22 events")), "{said}");
        assert!(said.contains(&format!("({waiting} wait there")), "{said}");
    }
}

#[tokio::test]
async fn named_orders_are_published_once_more_unless_they_wait_or_were_skipped() {
    let mut copy = Copy::healthy().await;
    copy.skip(5, "ada", "a test order").await;
    copy.finish().await;
    let ids = [2, 5].map(|n| copy.orders[n].to_string());
    let said = republish(&copy, &[&ids[0], &ids[1], &ids[0]]).await.unwrap();
    assert!(
        said.contains("1 events were put into the outbox; 0 were in it already, 1 an operator"),
        "{said}"
    );
    let said = republish(&copy, &[&ids[0]]).await.unwrap();
    assert!(said.contains("0 events were put into the outbox; 1 were in it already"), "{said}");
    assert_eq!(outbox(&copy).await, [first_event(&copy, 2)]);
}

#[tokio::test]
async fn an_id_that_is_no_accepted_order_is_named_and_nothing_is_published() {
    let mut copy = Copy::healthy().await;
    copy.finish().await;
    let stranger = Uuid::now_v7().to_string();
    let said = republish(&copy, &[&copy.orders[2].to_string(), &stranger]).await.unwrap_err();
    assert!(said.contains("no such order was accepted") && said.contains(&stranger), "{said}");
    assert_eq!(outbox(&copy).await, []);
    for arguments in [&["order-7"][..], &[], &["--missing", &stranger], &["--since", "1h", &stranger]] {
        assert!(republish(&copy, arguments).await.is_err(), "{arguments:?}");
    }
}

#[tokio::test]
async fn what_retention_removed_is_out_of_sight_and_not_published_again() {
    let mut copy = Copy::healthy().await;
    copy.finish().await;
    kafka::remove_all_records(&copy.settings.kafka, &copy.settings.topic).await;
    let said = republish(&copy, &["--missing"]).await.unwrap();
    assert!(said.contains("0 of 22 events") && said.contains("22 are out of sight"), "{said}");
    assert_eq!(outbox(&copy).await, []);
}

#[tokio::test]
async fn a_missing_event_that_is_not_its_orders_first_is_named_and_the_others_are_put_back() {
    let mut copy = Copy::healthy().await;
    copy.lose(3);
    let second = copy.events.pop().unwrap();
    copy.finish().await;
    let said = republish(&copy, &["--missing"]).await.unwrap_err();
    assert!(said.contains("1 missing events are not the first of their orders"), "{said}");
    assert_eq!(second.key, Some(copy.orders[ORDERS - 1].to_string().into_bytes()));
    assert_eq!(outbox(&copy).await, [first_event(&copy, 3)]);
}

#[tokio::test]
async fn more_events_than_fit_into_one_transaction_are_all_put_back() {
    let mut copy = Copy::healthy().await;
    copy.finish().await;
    let (_, pool) = copy.orders_database();
    let orders = "WITH o AS (
            INSERT INTO orders (id, user_id, email, phone, total_cents)
            SELECT gen_random_uuid(), n, 'user@example.com', '+1234567890', 2999 FROM generate_series(1, 1201) AS n
            RETURNING id)
         INSERT INTO order_items SELECT id, 1, 1, 1, 2999 FROM o";
    sqlx::query(orders).execute(pool).await.unwrap();
    let said = republish(&copy, &["--missing"]).await.unwrap();
    assert!(said.contains("1201 of 1223 events") && said.contains("and 1181 more"), "{said}");
    assert!(said.contains("1201 events were put into the outbox"), "{said}");
    assert_eq!(outbox(&copy).await.len(), 1201);
}
