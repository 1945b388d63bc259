//! Servers and providers that go away for a while and come back.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use reqwest::StatusCode;
use testkit::{Kind, eventually};

use crate::audit::number;
use crate::system::{PROVIDERS, System, system};
use crate::topics;

/// The default of `RETRY_MAX_ATTEMPTS`.
const ATTEMPTS: i64 = 5;

#[tokio::test]
async fn with_redis_stopped_products_are_read_and_orders_take_effect() {
    let mut system = system().await;
    let warm = system.shop.get("/api/product/3").await;
    assert_eq!(warm.status, 200);

    system.stop(Kind::Redis).await;
    for _ in 0..3 {
        let product = system.shop.get("/api/product/3").await;
        assert_eq!(product.status, 200, "{}", product.body);
        assert_eq!(product.body["from_cache"], false, "{}", product.body);
        assert_eq!(product.body["data"], warm.body["data"]);
    }
    assert_eq!(system.shop.get("/api/product/100000").await.status, 404);
    let orders = system.shop.accepted_orders(20).await;
    system.every_order_took_effect_once().await;
    system.were_accepted_and_applied(&orders).await;

    system.start_again(Kind::Redis).await;
    eventually("the cache is used again", async || {
        let product = system.shop.get("/api/product/3").await;
        if product.body["from_cache"] == true { Ok(()) } else { Err(product.body.to_string()) }
    })
    .await;
}

#[tokio::test]
async fn with_kafka_stopped_orders_are_accepted_and_take_effect_once_it_is_back() {
    let mut system = system().await;
    let dead_letters = topics::dead_letter_counts(system.kafka_brokers()).await;
    system.stop(Kind::Kafka).await;

    let orders = system.shop.accepted_orders(100).await;
    let waiting = number(&system.databases.orders, "SELECT count(*) FROM outbox").await;
    assert_eq!(waiting, 100, "orders that wait in the outbox");
    let read = system.shop.get(&format!("/api/orders/{}", orders[0])).await;
    assert_eq!(read.status, 200, "{}", read.body);

    system.start_again(Kind::Kafka).await;
    system.every_order_took_effect_once().await;
    system.were_accepted_and_applied(&orders).await;
    system.ready().await;
    assert_eq!(topics::dead_letter_counts(system.kafka_brokers()).await, dead_letters);
}

#[tokio::test]
async fn with_the_providers_gone_orders_are_accepted_and_all_are_delivered_later_without_dead_letters() {
    let mut system = system().await;
    let dead_letters = topics::dead_letter_counts(system.kafka_brokers()).await;
    let (shop, progress) = (system.shop.clone(), AtomicUsize::new(0));
    let outage = async {
        // Killed in the middle of deliveries: its journal has to know the ones it had answered.
        eventually("deliveries on their way", async || {
            if progress.load(Ordering::Relaxed) > 30 { Ok(()) } else { Err("too few orders yet") }
        })
        .await;
        system.service_mut(PROVIDERS).kill9();
    };
    let (orders, ()) = tokio::join!(shop.orders(200, 4, &progress), outage);

    // The other effects do not wait for the providers.
    eventually("stock taken while the providers are away", async || {
        let (ordered, reserved) = (
            number(&system.databases.orders, "SELECT count(*) FROM order_items").await,
            number(&system.databases.inventory, "SELECT count(*) FROM reservations").await,
        );
        if reserved == ordered { Ok(()) } else { Err(format!("{reserved} of {ordered} lines")) }
    })
    .await;

    system.service_mut(PROVIDERS).restart().await;
    system.every_order_took_effect_once().await;
    system.were_accepted_and_applied(&orders).await;
    assert_eq!(topics::dead_letter_counts(system.kafka_brokers()).await, dead_letters);
}

/// Messages refused so far, by e-mail and by text.
async fn refusals(system: &System) -> [i64; 2] {
    let deliveries = system.get(PROVIDERS, "/api/deliveries").await;
    ["email", "sms"].map(|channel| deliveries[channel]["refused"].as_i64().expect("a number of refusals"))
}

#[tokio::test]
async fn with_the_providers_refusing_everything_no_order_runs_out_of_attempts() {
    let system = system().await;
    let dead_letters = topics::dead_letter_counts(system.kafka_brokers()).await;
    system.refuse_all_deliveries(true).await;
    let before = refusals(&system).await;
    let orders = system.shop.accepted_orders(3).await;

    // So many refusals mean that some message was refused more often than it has attempts. Few orders: once the consumers see
    // that the providers are away, they ask once for each wait.
    let enough = orders.len() as i64 * ATTEMPTS + 1;
    eventually("more refusals than attempts", async || {
        let after = refusals(&system).await;
        let grown = [after[0] - before[0], after[1] - before[1]];
        if grown.iter().all(|grown| *grown >= enough) { Ok(()) } else { Err(format!("{grown:?}")) }
    })
    .await;
    assert_eq!(topics::dead_letter_counts(system.kafka_brokers()).await, dead_letters);

    system.refuse_all_deliveries(false).await;
    system.every_order_took_effect_once().await;
    system.were_accepted_and_applied(&orders).await;
    assert_eq!(topics::dead_letter_counts(system.kafka_brokers()).await, dead_letters);
}

#[tokio::test]
async fn while_postgres_restarts_requests_get_a_503_problem_and_everything_recovers_by_itself() {
    let mut system = system().await;
    let dead_letters = topics::dead_letter_counts(system.kafka_brokers()).await;
    let before = system.shop.accepted_orders(20).await;
    let (shop, over) = (system.shop.clone(), AtomicBool::new(false));

    let callers = async {
        let mut answers = Vec::new();
        while !over.load(Ordering::Relaxed) {
            let n = answers.len();
            answers.push(shop.order_once(n).await);
            answers.push(shop.get_once(&format!("/api/orders/{}", before[n % before.len()])).await);
        }
        answers
    };
    let restart = async {
        system.stop(Kind::Postgres).await;
        // At least one caller has to meet the closed door, however fast the restart.
        let refused = shop.order_once(0).await;
        system.start_again(Kind::Postgres).await;
        eventually("orders are accepted again", async || {
            let answer = shop.order_once(1).await;
            if answer.status.is_success() {
                Ok(())
            } else {
                Err(format!("{} {}", answer.status, answer.body))
            }
        })
        .await;
        over.store(true, Ordering::Relaxed);
        refused
    };
    let (answers, refused) = tokio::join!(callers, restart);

    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE, "{}", refused.body);
    for answer in answers.iter().chain([&refused]) {
        let (status, body) = (answer.status, &answer.body);
        if status.is_success() {
            continue;
        }
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{body}");
        assert_eq!(body["success"], false, "{body}");
        assert_eq!(body["status"], 503, "{body}");
        assert!(body["error"].as_str().is_some_and(|error| !error.is_empty()), "{body}");
    }

    system.ready().await;
    system.every_order_took_effect_once().await;
    system.were_accepted_and_applied(&before).await;
    assert_eq!(topics::dead_letter_counts(system.kafka_brokers()).await, dead_letters);
}
