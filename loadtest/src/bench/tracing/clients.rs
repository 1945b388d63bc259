//! The closed loop: so many clients, each of which orders again as soon as it has its answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::bail;
use tokio::task::JoinSet;
use tokio::time::Instant;
use uuid::Uuid;

use crate::load::{Answer, Orders, Shop};

/// Which orders of a load are sampled, if it is for the clients to say. Spread evenly: of 20 orders one, if it is a twentieth.
#[derive(Debug)]
struct Decision {
    share: f64,
    asked: AtomicU64,
}

impl Decision {
    /// A `traceparent` for the next order. Each has a trace of its own.
    fn next(&self) -> String {
        let asked = self.asked.fetch_add(1, Ordering::Relaxed);
        let before = (asked as f64 * self.share).floor();
        let sampled = ((asked + 1) as f64 * self.share).floor() > before;
        // Version 4: neither half is ever zero, which would be no id.
        let (trace, span) = (Uuid::new_v4(), Uuid::new_v4().as_u64_pair().0);
        format!("00-{}-{span:016x}-{:02x}", trace.simple(), u8::from(sampled))
    }
}

/// Has `clients` order for `length`. The same `seed` has them order the same. Returns how many orders were accepted, and how long it took until
/// the last one was. `share`: the part of them that is sampled; without it the clients say nothing about traces.
///
/// # Errors
/// An order was not accepted.
pub(super) async fn order(
    shop: &Shop,
    clients: u64,
    length: Duration,
    seed: u64,
    share: Option<f64>,
) -> anyhow::Result<(u64, Duration)> {
    let decision = share.map(|share| Arc::new(Decision { share, asked: AtomicU64::new(0) }));
    let began = Instant::now();
    let mut all = JoinSet::new();
    for client in 0..clients {
        let (shop, decision) = (shop.clone(), decision.clone());
        // Far from those of the clients of another load.
        let mut orders = Orders::new(seed * 1_000 + client);
        all.spawn(async move {
            let mut accepted = 0;
            while began.elapsed() < length {
                let Some(order) = orders.next() else { break };
                let traceparent = decision.as_ref().map(|decision| decision.next());
                match shop.order_in_trace(&order, traceparent.as_deref()).await {
                    Answer::Accepted { .. } => accepted += 1,
                    Answer::Refused(reason) | Answer::Unknown(reason) => {
                        bail!("an order was not accepted: {reason}")
                    }
                }
            }
            Ok(accepted)
        });
    }
    let mut accepted = 0;
    while let Some(client) = all.join_next().await {
        accepted += client??;
    }
    Ok((accepted, began.elapsed()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_the_orders_is_sampled_and_spread_evenly() {
        for (share, expected) in [(0.0, 0), (0.05, 5), (0.5, 50), (1.0, 100)] {
            let decision = Decision { share, asked: AtomicU64::new(0) };
            let sampled = (0..100).filter(|_| decision.next().ends_with("-01")).count();
            assert_eq!(sampled, expected, "{share}");
        }
        let decision = Decision { share: 0.0, asked: AtomicU64::new(0) };
        assert_eq!(decision.next().len(), "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00".len());
    }
}
