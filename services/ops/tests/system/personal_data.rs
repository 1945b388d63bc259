//! Logs, traces and metrics name nobody.

use serde_json::json;
use testkit::eventually;

use crate::system::system;
use crate::topics;

/// What all customers of these tests have in their addresses and numbers, and one who writes theirs where they do not belong.
const TRACES_OF_PEOPLE: [&str; 6] = ["example.com", "+1555", "%2B1555", "%2b1555", "u002B1555", "u002b1555"];

/// Where the text has an address or a number of a customer in it.
///
/// A number without its sign is one only if no digit, also none of an identifier, stands beside it: the traces of a run are 100 MB of times and identifiers,
/// in which any seven digits come up by chance in one run of ten.
fn person_in(text: &str) -> Option<usize> {
    let number = |at: usize| {
        let (before, from) = text.split_at(at);
        let digits = from.bytes().take_while(u8::is_ascii_digit).count();
        let stands_alone = !before.ends_with(|c: char| c.is_ascii_hexdigit() || c == '.')
            && !from[digits..].starts_with(|c: char| c.is_ascii_hexdigit());
        digits == "15550000000".len() && stands_alone
    };
    let named = TRACES_OF_PEOPLE.iter().find_map(|person| text.find(person));
    named.or_else(|| text.match_indices("1555").map(|(at, _)| at).find(|at| number(*at)))
}

#[test]
fn a_number_without_its_sign_is_found_where_it_is_a_value_and_not_within_times_and_identifiers() {
    for told in [
        "15550000007",
        r#"{"phone":"15550000007"}"#,
        "phone=15550000007 ",
        "/api/15550000007/orders",
        r"line\n15550000007x",
        "%2b15550000007",
    ] {
        assert!(person_in(told).is_some(), "{told}");
    }
    for by_chance in [
        r#"{"startTime":1795380615550000}"#,
        r#"{"spanID":"a15550000007bcde"}"#,
        "01a20506-daec-7346-8abc-155500000071",
        "request_duration_seconds_sum 0.15550000007",
    ] {
        assert_eq!(person_in(by_chance), None, "{by_chance}");
    }
}

#[tokio::test]
async fn no_log_no_trace_and_no_metric_of_a_full_run_holds_an_email_address_or_a_phone_number() {
    let system = system().await;
    let (client, shop) = (reqwest::Client::new(), system.service("order-api").url(""));
    // Orders that go through, one whose deliveries are refused for a while, an event with personal data that ends as dead letters, and requests with
    // personal data where none is expected.
    system.shop.accepted_orders(10).await;
    system.refuse_all_deliveries(true).await;
    let refused = system.shop.order_once(2).await;
    let until = async |outcome: &str, count: usize| {
        eventually(&format!("{count} times {outcome}"), async || {
            let spans = system.trace(&refused.trace_id).await;
            let found = spans.iter().filter(|span| span.outcome() == outcome).count();
            if found >= count { Ok(()) } else { Err(found) }
        })
        .await;
    };
    until("retry", 2).await;
    system.refuse_all_deliveries(false).await;
    until("applied", 4).await;
    let record = topics::records_of(system.kafka_brokers(), &[refused.order_id()]).await.remove(0);
    let broken = br#"{"email":"customer7@example.com","phone":"+15550000007"#;
    topics::send_with(system.kafka_brokers(), &record, broken).await;
    let other_version =
        br#"{"specversion":"9","email":"customer7@example.com","data":{"email":"customer7@example.com"}}"#;
    topics::send_with(system.kafka_brokers(), &record, other_version).await;
    until("dead_lettered", 8).await;
    for path in [
        "/api/orders/customer7@example.com",
        "/api/product/customer7@example.com",
        "/customer7%40example.com/+15550000007",
        "/api/products?page=customer7@example.com",
    ] {
        client.get(format!("{shop}{path}")).send().await.expect("an answer");
    }
    for body in [
        json!({ "user_id": "customer7@example.com", "email": "customer7@example.com", "phone": "+15550000007", "items": [] }),
        json!({ "user_id": 7, "email": "customer7@example.com@", "phone": "+15550000007x", "items": "customer7@example.com" }),
    ] {
        client.post(format!("{shop}/api/order")).json(&body).send().await.expect("an answer");
    }
    client
        .get(format!("{shop}/api/product/1"))
        .header("x-request-id", "customer7@example.com")
        .header("traceparent", "customer7@example.com")
        .send()
        .await
        .expect("an answer");
    let last = system.shop.order_once(1).await;
    eventually("the spans have come", async || {
        let spans = system.trace(&last.trace_id).await;
        let done = spans.iter().filter(|span| span.outcome() == "applied").count();
        let sent = spans.iter().any(|span| span.service == "outbox-relay");
        if done == 4 && sent { Ok(()) } else { Err(format!("{done}, {sent}")) }
    })
    .await;

    // Its connections are new: a process closes those that were not used for a while, perhaps just as a request goes out on them.
    let client = reqwest::Client::new();
    for (name, service) in system.services() {
        let metrics = client.get(service.url("/metrics")).send().await.expect("metrics");
        let metrics = metrics.text().await.expect("a text");
        assert!(metrics.contains("http_server_request_duration_seconds_count"), "{name}: {metrics}");
        let traces = system.all_traces_of(name).await;
        assert!(traces.contains("\"spanID\""), "{name} has no spans: {traces}");
        for (what, text) in [("log", service.log()), ("metrics", metrics), ("traces", traces)] {
            if let Some(at) = person_in(&text) {
                let around = &text.as_bytes()[at.saturating_sub(300)..(at + 300).min(text.len())];
                panic!("the {what} of {name} name a customer: {}", String::from_utf8_lossy(around));
            }
        }
    }
}
