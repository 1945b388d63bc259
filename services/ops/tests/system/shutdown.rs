//! SIGTERM, as an operator or an orchestrator sends it.

use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use crate::system::{ORDER_API, system};

/// 10 s to drain, and a little for two slow cores.
const DRAIN: Duration = Duration::from_secs(12);

#[tokio::test]
async fn sigterm_ends_every_process_with_status_0_within_the_drain_deadline_and_loses_nothing() {
    let mut system = system().await;
    // Work for everybody: the consumers are behind when the signal comes.
    let orders = system.shop.orders(200, 8, &AtomicUsize::new(0)).await;

    for (name, process) in system.services_mut() {
        let status = process.terminate_within(DRAIN).await;
        assert!(status.success(), "{name} ended with {status}:\n{}", process.log());
    }
    for (_, process) in system.services_mut() {
        process.restart_unready();
    }
    system.ready().await;
    assert!(system.service(ORDER_API).is_running());
    system.every_order_took_effect_once().await;
    system.were_accepted_and_applied(&orders).await;
}
