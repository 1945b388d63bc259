//! Processes that die without warning.

use std::sync::atomic::{AtomicUsize, Ordering};

use testkit::eventually;
use uuid::Uuid;

use crate::shop::Answer;
use crate::system::{CONSUMERS, ORDER_API, RELAY, system};
use crate::topics;

const ORDERS: usize = 1_000;

/// Returns once `count` orders have had their answer.
async fn placed(progress: &AtomicUsize, count: usize) {
    eventually(&format!("{count} orders placed"), async || {
        let placed = progress.load(Ordering::Relaxed);
        if placed >= count { Ok(()) } else { Err(format!("{placed} so far")) }
    })
    .await;
}

#[tokio::test]
async fn kill_9_of_the_relay_and_of_each_consumer_during_a_thousand_orders_loses_nothing_and_doubles_nothing()
{
    let mut system = system().await;
    let dead_letters = topics::dead_letter_counts(system.kafka_brokers()).await;
    let (shop, progress) = (system.shop.clone(), AtomicUsize::new(0));

    let chaos = async {
        for (round, victim) in [RELAY].into_iter().chain(CONSUMERS).enumerate() {
            placed(&progress, 100 + round * 170).await;
            system.service_mut(victim).kill9();
            // It stays away while orders come in, so that there is something to catch up with.
            placed(&progress, 100 + round * 170 + 80).await;
            system.service_mut(victim).restart_unready();
        }
    };
    let (orders, ()) = tokio::join!(shop.orders(ORDERS, 4, &progress), chaos);

    system.ready().await;
    system.every_order_took_effect_once().await;
    system.were_accepted_and_applied(&orders).await;
    assert_eq!(topics::dead_letter_counts(system.kafka_brokers()).await, dead_letters);
}

#[tokio::test]
async fn kill_9_of_order_api_loses_no_order_that_was_accepted_and_leaves_no_half_of_one() {
    let mut system = system().await;
    let before = system.shop.accepted_orders(100).await;
    let (shop, progress) = (system.shop.clone(), AtomicUsize::new(0));
    let chaos = async {
        placed(&progress, 50).await;
        system.service_mut(ORDER_API).kill9();
        system.service_mut(ORDER_API).restart().await;
    };
    let (answers, ()) = tokio::join!(shop.orders_of_a_dying_shop(400, 4, &progress), chaos);
    let accepted: Vec<Uuid> = answers.iter().flatten().map(Answer::order_id).collect();
    assert!(answers.iter().any(Option::is_none), "nobody noticed the kill");

    // The audit counts every stored order, also those whose caller never got the answer.
    system.every_order_took_effect_once().await;
    system.were_accepted_and_applied(&[before, accepted].concat()).await;
}
