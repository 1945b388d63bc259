//! One-line orders, as bytes that are ready to be sent: who makes load shares the processors with what is measured.

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::load::PRODUCTS;

/// Bodies of orders without end; they follow from the seed.
#[derive(Debug)]
pub(super) struct Bodies(StdRng);

impl Bodies {
    pub(super) fn new(seed: u64) -> Self {
        Self(StdRng::seed_from_u64(seed))
    }

    pub(super) fn next(&mut self) -> Bytes {
        let (customer, product, quantity) = (
            self.0.random_range(1..=1_000_000),
            self.0.random_range(1..=PRODUCTS),
            self.0.random_range(1..=3),
        );
        let body = format!(
            r#"{{"user_id":{customer},"email":"customer{customer}@example.com","phone":"+1555{customer:07}","items":[{{"product_id":{product},"quantity":{quantity}}}]}}"#
        );
        Bytes::from(body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_names_orders_of_one_line_each() {
        let (mut bodies, mut again) = (Bodies::new(7), Bodies::new(7));
        for _ in 0..50 {
            let body = bodies.next();
            assert_eq!(body, again.next());
            let order: serde_json::Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(order["items"].as_array().unwrap().len(), 1);
        }
        assert_ne!(Bodies::new(7).next(), Bodies::new(8).next());
    }
}
