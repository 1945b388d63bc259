//! Product reads beside the orders, so that Redis has something to do. A read that fails while servers are away is counted and no
//! finding: reads promise speed, not durability.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::load::{PRODUCTS, Shop};

const PAUSE: Duration = Duration::from_millis(50);

/// Reads one product after the other until `stop`. Returns how many, and how many of them failed.
pub(super) async fn read(shop: &Shop, seed: u64, stop: &CancellationToken) -> (u64, u64) {
    let (mut reads, mut failed, mut random) = (0, 0, StdRng::seed_from_u64(seed));
    let mut ticks = interval(PAUSE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        reads += 1;
        failed += u64::from(shop.product(random.random_range(1..=PRODUCTS)).await.is_err());
    }
    (reads, failed)
}
