//! What a trace shows of an order, asked of a real Jaeger.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use sqlx::{Connection, PgConnection};
use testkit::eventually;

use crate::jaeger::Span;
use crate::system::{CONSUMERS, PROVIDERS, RELAY, Running, system};
use crate::topics;

const GROUPS: [&str; 4] = ["analytics-service", "email-service", "inventory-service", "sms-service"];

/// Every step of an order, each once: service, span, kind, and the span that it is part of.
const STEPS: [(&str, &str, &str, &str); 27] = [
    ("order-api", "POST /api/order", "server", ""),
    ("order-api", "price order", "internal", "order-api POST /api/order"),
    ("order-api", "SELECT products", "client", "order-api price order"),
    ("order-api", "write order", "internal", "order-api POST /api/order"),
    ("order-api", "INSERT orders", "client", "order-api write order"),
    ("outbox-relay", "send order.events", "producer", "order-api write order"),
    ("email-consumer", "process order.events", "consumer", "outbox-relay send order.events"),
    ("email-consumer", "SELECT inbox", "client", "email-consumer process order.events"),
    ("email-consumer", "send e-mail", "client", "email-consumer process order.events"),
    ("email-consumer", "INSERT deliveries", "client", "email-consumer process order.events"),
    ("sms-consumer", "process order.events", "consumer", "outbox-relay send order.events"),
    ("sms-consumer", "SELECT inbox", "client", "sms-consumer process order.events"),
    ("sms-consumer", "POST", "client", "sms-consumer process order.events"),
    ("provider-sim", "POST /sms", "server", "sms-consumer POST"),
    ("sms-consumer", "INSERT deliveries", "client", "sms-consumer process order.events"),
    ("inventory-consumer", "process order.events", "consumer", "outbox-relay send order.events"),
    ("inventory-consumer", "BEGIN", "client", "inventory-consumer process order.events"),
    ("inventory-consumer", "INSERT inbox", "client", "inventory-consumer process order.events"),
    ("inventory-consumer", "SELECT stock", "client", "inventory-consumer process order.events"),
    ("inventory-consumer", "INSERT reservations", "client", "inventory-consumer process order.events"),
    ("inventory-consumer", "COMMIT", "client", "inventory-consumer process order.events"),
    ("analytics-consumer", "process order.events", "consumer", "outbox-relay send order.events"),
    ("analytics-consumer", "BEGIN", "client", "analytics-consumer process order.events"),
    ("analytics-consumer", "INSERT inbox", "client", "analytics-consumer process order.events"),
    ("analytics-consumer", "INSERT orders_per_minute", "client", "analytics-consumer process order.events"),
    ("analytics-consumer", "INSERT product_sales", "client", "analytics-consumer process order.events"),
    ("analytics-consumer", "COMMIT", "client", "analytics-consumer process order.events"),
];

/// Providers that take everything at once, so that every step happens once.
async fn reliable_providers(system: &Running) {
    let channel = json!({ "latency_ms": 3, "failure_rate": 0.0, "lost_answer_rate": 0.0 });
    system.set_providers(json!({ "email": channel, "sms": channel })).await;
}

/// A span of the trace, by service and name.
#[track_caller]
fn the<'a>(spans: &'a [Span], service: &str, name: &str) -> &'a Span {
    let mut found = spans.iter().filter(|span| span.service == service && span.name == name);
    let one = found.next().unwrap_or_else(|| panic!("no span {service} {name} in {spans:#?}"));
    assert!(found.next().is_none(), "{service} {name} is there twice");
    one
}

#[track_caller]
fn has(span: &Span, attributes: &[(&str, &str)]) {
    for (name, value) in attributes {
        assert_eq!(span.attribute(name), *value, "{name} of {} {}", span.service, span.name);
    }
}

/// The trace once it is done, and every span that is a parent is there.
async fn applied(system: &Running, trace_id: &str, done: impl Fn(&[Span]) -> bool) -> Vec<Span> {
    shown(system, trace_id, |spans| orphans(spans).is_empty() && done(spans)).await
}

/// The trace once it is done, whatever else of it may be missing.
async fn shown(system: &Running, trace_id: &str, done: impl Fn(&[Span]) -> bool) -> Vec<Span> {
    eventually("the trace is complete", async || {
        let spans = system.trace(trace_id).await;
        if done(&spans) { Ok(spans) } else { Err(sketch(&spans)) }
    })
    .await
}

/// Spans whose parent has not come.
fn orphans(spans: &[Span]) -> Vec<&Span> {
    let ids: BTreeSet<&str> = spans.iter().map(|span| span.id.as_str()).collect();
    spans.iter().filter(|span| !span.parent.is_empty() && !ids.contains(span.parent.as_str())).collect()
}

fn by_all_groups(spans: &[Span]) -> bool {
    let applied: BTreeSet<&str> =
        spans.iter().filter(|span| span.outcome() == "applied").map(Span::group).collect();
    applied == BTreeSet::from(GROUPS)
}

fn sketch(spans: &[Span]) -> String {
    let line = |span: &Span| format!("{} {} {}", span.service, span.name, span.outcome());
    spans.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn one_order_is_one_trace_with_every_step_from_the_request_to_the_four_effects() {
    let system = system().await;
    reliable_providers(&system).await;
    let answer = system.shop.order_once(3).await;
    let order = answer.order_id().to_string();
    let spans = applied(&system, &answer.trace_id, |spans| spans.len() >= STEPS.len()).await;

    let names: BTreeMap<&str, String> =
        spans.iter().map(|span| (span.id.as_str(), format!("{} {}", span.service, span.name))).collect();
    let mut found: Vec<(&str, &str, &str, &str)> = spans
        .iter()
        .map(|span| {
            let parent = names.get(span.parent.as_str()).map_or("", String::as_str);
            (span.service.as_str(), span.name.as_str(), span.kind, parent)
        })
        .collect();
    let mut expected = STEPS.to_vec();
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found, expected);
    assert!(spans.iter().all(|span| !span.failed), "{spans:#?}");

    // The same trace is named by the order.
    let shown = system.shop.get(&format!("/api/orders/{order}")).await;
    assert_eq!(shown.body["data"]["trace_id"], answer.trace_id);
}

#[tokio::test]
async fn spans_carry_the_attributes_of_the_conventions_for_http_databases_and_messaging() {
    let system = system().await;
    reliable_providers(&system).await;
    let answer = system.shop.order_once(4).await;
    let order = answer.order_id().to_string();
    let spans = applied(&system, &answer.trace_id, by_all_groups).await;

    let http = [("http.request.method", "POST"), ("http.route", "/api/order"), ("url.path", "/api/order")];
    has(the(&spans, "order-api", "POST /api/order"), &http);
    let more = [("http.response.status_code", "201"), ("url.scheme", "http"), ("order.id", order.as_str())];
    has(the(&spans, "order-api", "POST /api/order"), &more);
    let gateway = the(&spans, "sms-consumer", "POST");
    has(gateway, &[("http.request.method", "POST"), ("http.response.status_code", "202")]);
    let port = system.service(PROVIDERS).address().port().to_string();
    // Its URL may hold a token, in the path too.
    has(gateway, &[("server.address", "127.0.0.1"), ("server.port", &port), ("url.full", "")]);
    has(the(&spans, "email-consumer", "send e-mail"), &[("network.protocol.name", "smtp")]);

    let insert = the(&spans, "order-api", "INSERT orders");
    has(insert, &[("db.system.name", "postgresql"), ("db.operation.name", "INSERT")]);
    has(insert, &[("db.collection.name", "orders"), ("db.query.summary", "INSERT orders")]);
    assert!(!insert.attribute("db.namespace").is_empty() && !insert.attribute("server.port").is_empty());

    let send = the(&spans, RELAY, "send order.events");
    let message = [
        ("messaging.system", "kafka"),
        ("messaging.destination.name", "order.events"),
        ("messaging.kafka.message.key", order.as_str()),
        ("messaging.message.id", send.attribute("messaging.message.id")),
    ];
    has(send, &message);
    has(send, &[("messaging.operation.name", "send"), ("messaging.operation.type", "send")]);
    for (consumer, group) in CONSUMERS.iter().zip(["email", "sms", "inventory", "analytics"]) {
        let process = the(&spans, consumer, "process order.events");
        has(process, &message);
        has(process, &[("messaging.operation.name", "process"), ("messaging.operation.type", "process")]);
        has(process, &[("messaging.consumer.group.name", format!("{group}-service").as_str())]);
        has(process, &[("orderflow.outcome", "applied"), ("orderflow.attempt", "1")]);
        assert!(process.attribute("messaging.kafka.offset").parse::<i64>().is_ok());
        assert!(process.attribute("messaging.destination.partition.id").parse::<i32>().is_ok());
        let sender = (send.trace.clone(), send.id.clone());
        assert!(
            process.links.contains(&sender),
            "{consumer} is a child of the sending, and linked to it too"
        );
    }
}

#[tokio::test]
async fn a_product_read_shows_whether_the_cache_knew_and_the_database_if_it_did_not() {
    let system = system().await;
    let read = async || {
        let answer = system.shop.get("/api/product/97").await;
        let (trace, cached) = (answer.trace_id, answer.body["from_cache"].as_bool().expect("from_cache"));
        let spans = applied(&system, &trace, |spans| spans.iter().any(|span| span.kind == "server")).await;
        (cached, spans)
    };
    let (cached, first) = read().await;
    let names = |spans: &[Span]| -> BTreeSet<String> { spans.iter().map(|span| span.name.clone()).collect() };
    let set = |names: &[&str]| -> BTreeSet<String> { names.iter().map(|name| (*name).to_owned()).collect() };
    // Another test may have read it already.
    if !cached {
        has(the(&first, "order-api", "GET /api/product/{id}"), &[("orderflow.cache", "miss")]);
        assert_eq!(names(&first), set(&["GET /api/product/{id}", "GET", "SELECT products", "EVAL"]));
    }
    let (cached, second) = read().await;
    assert!(cached, "it was just read");
    has(the(&second, "order-api", "GET /api/product/{id}"), &[("orderflow.cache", "hit")]);
    assert_eq!(names(&second), set(&["GET /api/product/{id}", "GET"]));
    has(the(&second, "order-api", "GET"), &[("db.system.name", "redis"), ("db.operation.name", "GET")]);
}

#[tokio::test]
async fn orders_handled_as_one_batch_share_its_statements_and_each_has_a_span_of_its_own_linked_to_it() {
    let mut system = system().await;
    reliable_providers(&system).await;
    system.service_mut("inventory-consumer").kill9();
    let mut answers = Vec::new();
    for n in 0..12 {
        answers.push(system.shop.order_once(n).await);
    }
    system.service_mut("inventory-consumer").restart().await;

    // They lie on several partitions, so not all of them need be in one batch; but not each can be alone.
    let mut batched = None;
    for answer in &answers {
        let spans = applied(&system, &answer.trace_id, by_all_groups).await;
        let process = the(&spans, "inventory-consumer", "process order.events").clone();
        let send = the(&spans, RELAY, "send order.events");
        assert_eq!(
            process.parent, send.id,
            "its place in the order's trace is the same alone and in a batch"
        );
        if let Some((trace, batch)) = process.links.iter().find(|(trace, _)| *trace != process.trace) {
            let children = spans.iter().filter(|span| span.parent == process.id).count();
            assert_eq!(children, 0, "the statements are those of the batch");
            batched = Some((trace.clone(), batch.clone(), process.clone(), send.clone()));
        }
    }
    let (trace, id, process, send) = batched.expect("a batch");
    let spans = applied(&system, &trace, |spans| spans.iter().any(|span| span.id == id)).await;
    let batch = spans.iter().find(|span| span.id == id).expect("the batch");
    assert_eq!((batch.name.as_str(), batch.kind, batch.outcome()), ("process batch", "consumer", "applied"));
    assert!(batch.attribute("messaging.batch.message_count").parse::<usize>().is_ok_and(|count| count > 1));
    assert!(batch.links.contains(&(process.trace.clone(), send.id.clone())), "linked to what it handled");
    let mut statements: Vec<&str> =
        spans.iter().filter(|span| span.parent == id).map(|span| span.name.as_str()).collect();
    statements.sort_unstable();
    assert_eq!(statements, ["BEGIN", "COMMIT", "INSERT inbox", "INSERT reservations", "SELECT stock"]);
}

#[tokio::test]
async fn failures_retries_and_dead_letters_stand_on_the_spans_of_the_order() {
    let system = system().await;
    system.refuse_all_deliveries(true).await;
    let answer = system.shop.order_once(5).await;
    let tries = |spans: &[Span], group: &str| -> Vec<Span> {
        spans.iter().filter(|span| span.group() == group).cloned().collect()
    };
    let confirmations = ["email-service", "sms-service"];
    applied(&system, &answer.trace_id, |spans| {
        confirmations.iter().all(|group| tries(spans, group).len() >= 2)
    })
    .await;
    reliable_providers(&system).await;
    let spans = applied(&system, &answer.trace_id, by_all_groups).await;
    for group in confirmations {
        let tries = tries(&spans, group);
        let (last, failed): (Vec<&Span>, Vec<&Span>) =
            tries.iter().partition(|span| span.outcome() == "applied");
        assert_eq!(last.len(), 1, "{tries:#?}");
        assert!(
            failed.iter().all(|span| span.failed && !span.attribute("error.type").is_empty()),
            "{failed:#?}"
        );
        assert!(failed.iter().any(|span| span.outcome() == "retry"), "{failed:#?}");
        let first = failed.iter().filter(|span| span.attribute("orderflow.attempt") == "1").count();
        assert_eq!(first, 1, "{failed:#?}");
    }
    let refused = spans.iter().filter(|span| span.name == "POST" && span.failed);
    assert!(refused.clone().count() > 0 && refused.clone().all(|span| span.attribute("error.type") == "503"));

    // An event of this order that nobody can read: each group writes a letter, in the order's trace.
    let records = topics::records_of(system.kafka_brokers(), &[answer.order_id()]).await;
    topics::send_with(system.kafka_brokers(), &records[0], b"no event of ours").await;
    let letters = |spans: &[Span]| -> BTreeSet<String> {
        let letters = spans.iter().filter(|span| span.outcome() == "dead_lettered" && span.failed);
        letters.map(|span| span.name.clone()).collect()
    };
    let expected: BTreeSet<String> = GROUPS.map(|group| format!("send order.events.{group}.dlq")).into();
    applied(&system, &answer.trace_id, |spans| letters(spans) == expected).await;
}

/// Holds the row of an order in the outbox: it can be read and published, and not removed.
async fn hold_outbox_row(system: &Running, order: &str) -> PgConnection {
    let mut connection = PgConnection::connect(system.databases.orders.url()).await.expect("a connection");
    sqlx::raw_sql("SET idle_in_transaction_session_timeout = 0; BEGIN")
        .execute(&mut connection)
        .await
        .expect("begun");
    let held = sqlx::query("SELECT 1 FROM outbox WHERE aggregate_id::text = $1 FOR UPDATE")
        .bind(order)
        .execute(&mut connection)
        .await
        .expect("held");
    assert_eq!(held.rows_affected(), 1, "the row waits in the outbox");
    connection
}

/// A statement that waits for a lock goes on when its client is dead: the removal would be done as soon as the row is free.
async fn end_sessions_of_dead_relay(system: &Running) {
    let mut connection = PgConnection::connect(system.databases.orders.url()).await.expect("a connection");
    eventually("no session of the dead relay is left", async || {
        let left: i64 = sqlx::query_scalar(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
             WHERE datname = current_database() AND application_name = 'outbox-relay'",
        )
        .fetch_one(&mut connection)
        .await
        .expect("an answer");
        if left == 0 { Ok(()) } else { Err(left) }
    })
    .await;
}

#[tokio::test]
async fn after_relay_and_consumer_were_killed_half_way_it_is_one_trace_with_one_effect_of_each_group_and_marked_repeats()
 {
    let mut system = system().await;
    reliable_providers(&system).await;
    system.service_mut(RELAY).kill9();
    let slow = json!({ "latency_ms": 10_000, "failure_rate": 0.0, "lost_answer_rate": 0.0 });
    system.set_providers(json!({ "email": slow })).await;
    let answer = system.shop.order_once(6).await;
    let order = answer.order_id().to_string();

    // Published, and not removed from the outbox: half-way for the relay.
    let held = hold_outbox_row(&system, &order).await;
    system.service_mut(RELAY).restart_unready();
    let others = ["analytics-service", "inventory-service", "sms-service"];
    shown(&system, &answer.trace_id, |spans| {
        others
            .iter()
            .all(|group| spans.iter().any(|span| span.group() == *group && span.outcome() == "applied"))
    })
    .await;
    system.service_mut(RELAY).kill9();

    // With the mail on its way to the provider: half-way for the consumer.
    eventually("the provider has the mail in hand", async || {
        let totals = system.get(PROVIDERS, "/api/deliveries").await;
        if totals["email"]["in_progress"].as_u64() > Some(0) { Ok(()) } else { Err(totals.to_string()) }
    })
    .await;
    system.service_mut("email-consumer").kill9();
    reliable_providers(&system).await;

    end_sessions_of_dead_relay(&system).await;
    drop(held);
    system.service_mut(RELAY).restart_unready();
    system.service_mut("email-consumer").restart_unready();
    system.ready().await;

    let outcomes = |spans: &[Span], group: &str, outcome: &str| {
        spans.iter().filter(|span| span.group() == group && span.outcome() == outcome).count()
    };
    let spans = shown(&system, &answer.trace_id, |spans| {
        GROUPS
            .iter()
            .all(|group| outcomes(spans, group, "applied") == 1 && outcomes(spans, group, "repeat") >= 1)
    })
    .await;
    the(&spans, "order-api", "POST /api/order");
    // What is missing is what a killed process had not sent yet: the relay's sending, and what the consumer was at.
    for orphan in orphans(&spans) {
        let of_relay = orphan.name == "process order.events";
        assert!(of_relay || orphan.service == "email-consumer", "{orphan:#?}");
    }
    for group in GROUPS {
        assert_eq!(outcomes(&spans, group, "applied"), 1, "{group}: {}", sketch(&spans));
    }
    // What the trace says is what was done.
    system.every_order_took_effect_once().await;
}

#[tokio::test]
async fn an_order_that_its_caller_does_not_sample_leaves_no_span_and_takes_effect_all_the_same() {
    let system = system().await;
    let trace_id = uuid::Uuid::new_v4().simple().to_string();
    let traceparent = format!("00-{trace_id}-00f067aa0ba902b7-00");
    let answer = system.shop.order_traced(json!([{ "product_id": 9, "quantity": 1 }]), &traceparent).await;
    assert_eq!(answer.trace_id, trace_id);
    system.every_order_took_effect_once().await;
    // A sampled order behind it: what would have come has come by then.
    let later = system.shop.order_once(8).await;
    applied(&system, &later.trace_id, by_all_groups).await;
    assert_eq!(system.trace(&trace_id).await.len(), 0);
}

#[tokio::test]
async fn the_operators_command_shows_an_order_with_the_time_of_each_group() {
    let system = system().await;
    reliable_providers(&system).await;
    let answer = system.shop.order_once(7).await;
    let order = answer.order_id().to_string();
    let jaeger = system.jaeger.url().to_owned();
    let page = system.ops(&["trace", &order, "--wait", "--jaeger", &jaeger]).await;
    for part in
        ["POST /api/order", "in the outbox", "in Kafka", "send e-mail", "POST /sms", "complete: all four"]
    {
        assert!(page.contains(part), "{part} is missing:\n{page}");
    }
}
