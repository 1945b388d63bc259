//! The orders that are sent.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use uuid::Uuid;

/// The highest id in the catalogue; the lowest is 1.
pub const PRODUCTS: i32 = 100;

/// One order as a client sends it, as often as it takes.
#[derive(Clone, Debug)]
pub struct Order {
    /// The `Idempotency-Key`, of this order alone.
    pub key: String,
    /// The body of the request.
    pub body: Value,
}

/// Orders without end: what they contain follows from the seed, their keys are new in every run.
#[derive(Debug)]
pub struct Orders {
    random: StdRng,
}

impl Orders {
    /// The orders of `seed`.
    pub fn new(seed: u64) -> Self {
        Self { random: StdRng::seed_from_u64(seed) }
    }
}

impl Iterator for Orders {
    type Item = Order;

    fn next(&mut self) -> Option<Order> {
        let random = &mut self.random;
        let customer: i32 = random.random_range(1..=1_000_000);
        let items: Vec<Value> = (0..random.random_range(1..=3))
            .map(|_| json!({ "product_id": random.random_range(1..=PRODUCTS), "quantity": random.random_range(1..=3) }))
            .collect();
        let body = json!({
            "user_id": customer,
            "email": format!("customer{customer}@example.com"),
            "phone": format!("+1555{customer:07}"),
            "items": items,
        });
        Some(Order { key: Uuid::new_v4().to_string(), body })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_seed_names_the_contents_of_the_orders_and_no_key_comes_twice() {
        let orders = |seed| Orders::new(seed).take(50).collect::<Vec<_>>();
        let bodies = |orders: &[Order]| orders.iter().map(|order| order.body.clone()).collect::<Vec<_>>();
        let (first, again) = (orders(7), orders(7));
        assert_eq!(bodies(&first), bodies(&again));
        assert_ne!(bodies(&first), bodies(&orders(8)));
        let keys: HashSet<_> = first.iter().chain(&again).map(|order| &order.key).collect();
        assert_eq!(keys.len(), 100);
    }
}
