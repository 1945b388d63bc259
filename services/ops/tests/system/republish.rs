//! Events that are published once more from the stored orders.

use std::time::Duration;

use chrono::{DateTime, Utc};
use rdkafka::message::{Headers, Message, OwnedMessage};
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use testkit::eventually;
use uuid::Uuid;

use crate::system::{RELAY, System, system};
use crate::topics;

/// Everything of a row of the outbox that is published or decides where it goes, but the trace: key, sequence, id, type, source, topic,
/// time, payload.
type Row = (Uuid, i64, Uuid, String, String, String, DateTime<Utc>, String);

async fn outbox(system: &System) -> Vec<Row> {
    let mut orders =
        PgConnection::connect(system.databases.orders.url()).await.expect("the database answers");
    let query = "SELECT aggregate_id, sequence, event_id, event_type, source, topic, created_at, payload::text FROM outbox ORDER BY 1";
    sqlx::query_as(query).fetch_all(&mut orders).await.expect(query)
}

/// Every header of a record but the trace, which is of the order's trace and not of its span.
fn headers(record: &OwnedMessage) -> Vec<(String, String)> {
    let headers = record.headers().expect("headers").iter();
    let text = headers.map(|header| {
        (header.key.to_owned(), String::from_utf8_lossy(header.value.unwrap_or_default()).into_owned())
    });
    text.filter(|(name, _)| name != "traceparent").collect()
}

#[tokio::test]
async fn an_event_that_is_published_again_equals_the_first_in_every_field_and_changes_nothing() {
    let system = system().await;
    let trace_id = Uuid::new_v4().simple().to_string();
    let items = json!([{ "product_id": 9, "quantity": 3 }, { "product_id": 4, "quantity": 1 }, { "product_id": 9, "quantity": 2 }]);
    let traced =
        system.shop.order_traced(items, &format!("00-{trace_id}-00f067aa0ba902b7-01")).await.order_id();
    let mut orders = system.shop.accepted_orders(5).await;
    orders.push(traced);
    system.every_order_took_effect_once().await;
    let ids: Vec<String> = orders.iter().map(Uuid::to_string).collect();
    system.ops(&[&["republish"], &*ids.iter().map(String::as_str).collect::<Vec<_>>()].concat()).await;

    let records = eventually("each event twice", async || {
        let records = topics::records_of(system.kafka_brokers(), &orders).await;
        if records.len() == 2 * orders.len() {
            Ok(records)
        } else {
            Err(format!("{} records", records.len()))
        }
    })
    .await;
    for id in &ids {
        let both: Vec<&OwnedMessage> =
            records.iter().filter(|record| record.key() == Some(id.as_bytes())).collect();
        let json = |record: &OwnedMessage| -> Value {
            serde_json::from_slice(record.payload().unwrap_or_default()).expect("JSON")
        };
        let (first, again) = (json(both[0]), json(both[1]));
        for field in ["id", "type", "schema_version", "source", "aggregate_id", "sequence", "occurred_at"] {
            assert_eq!((&again[field], again[field].is_null()), (&first[field], false), "{field}");
        }
        for field in ["order_id", "user_id", "email", "phone", "items", "total"] {
            let (first, again) = (&first["data"][field], &again["data"][field]);
            assert_eq!((again, again.is_null()), (first, false), "{field}");
        }
        assert_eq!(again, first, "and no field beside these");
        assert_eq!(both[0].payload(), both[1].payload(), "not even its spelling differs");
        assert_eq!(headers(both[0]), headers(both[1]));
        assert_eq!(both[0].partition(), both[1].partition());
        if *id == traced.to_string() {
            let traceparent = topics::header(both[1], "traceparent").expect("a trace");
            assert!(traceparent.starts_with(&format!("00-{trace_id}-")), "{traceparent}");
        }
    }
    system.every_order_took_effect_once().await;
}

#[tokio::test]
async fn events_that_were_lost_are_found_put_back_as_they_were_and_take_effect_once() {
    let mut system = system().await;
    system.every_order_took_effect_once().await;
    system.service_mut(RELAY).kill9();
    let orders = system.shop.accepted_orders(20).await;
    let before = outbox(&system).await;
    assert_eq!(before.len(), orders.len());
    let mut database =
        PgConnection::connect(system.databases.orders.url()).await.expect("the database answers");
    sqlx::query("DELETE FROM outbox").execute(&mut database).await.expect("deleted");
    let report = system.audit(Duration::ZERO).await;
    assert_eq!((report.clean, report.stages[0].missing), (false, 20), "{report}");

    system.ops(&["republish", "--missing"]).await;
    let back = outbox(&system).await;
    assert_eq!(back, before);
    system.ops(&["republish", "--missing"]).await;
    assert_eq!(outbox(&system).await, before, "twice is once");

    system.service_mut(RELAY).restart().await;
    system.every_order_took_effect_once().await;
    system.were_accepted_and_applied(&orders).await;
}
