//! What makes two orders the same order.

use sha2::{Digest, Sha256};

use super::NewOrder;

/// SHA-256 over what a caller orders: user, e-mail, telephone number and the pieces per product.
///
/// Two requests have the same fingerprint if they parse to the same order. So the spelling of the JSON does not count, nor
/// does the order of the lines or their split; and neither do a client's `price` and `total`, which have no influence on what
/// is ordered: the catalogue prices it.
///
/// The form that is hashed is fixed. Another one would make every repeat of a stored order look like another order.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The 32 bytes. They are derived from personal data: never log them.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl NewOrder {
    /// What this order is recognised by when it comes again.
    pub fn fingerprint(&self) -> Fingerprint {
        let mut hash = Sha256::new();
        hash.update(b"order/1");
        hash.update(self.user_id.to_be_bytes());
        for text in [self.email.as_str(), self.phone.as_str()] {
            // With its length before it, no text can run into the next.
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text);
        }
        let mut lines: Vec<(i32, i32)> =
            self.lines.iter().map(|line| (line.product_id, line.quantity)).collect();
        lines.sort_unstable();
        for (product_id, quantity) in lines {
            hash.update(product_id.to_be_bytes());
            hash.update(quantity.to_be_bytes());
        }
        Fingerprint(hash.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde_json::{Value, json};

    use crate::order::OrderRequest;

    /// Product and pieces per line of a request.
    type Lines = Vec<(i32, i64)>;

    fn fingerprint(body: Value) -> [u8; 32] {
        let request: OrderRequest = serde_json::from_value(body).unwrap();
        request.check().unwrap().fingerprint().0
    }

    fn body(user_id: i64, email: &str, phone: &str, lines: &Lines) -> Value {
        let items: Vec<Value> = lines
            .iter()
            .map(|(product_id, quantity)| json!({ "product_id": product_id, "quantity": quantity }))
            .collect();
        json!({ "user_id": user_id, "email": email, "phone": phone, "items": items })
    }

    fn merged(lines: &Lines) -> BTreeMap<i32, i64> {
        let mut pieces = BTreeMap::new();
        for (product, quantity) in lines {
            *pieces.entry(*product).or_insert(0) += quantity;
        }
        pieces
    }

    #[test]
    fn the_hashed_form_stays_as_it_is() {
        let body = body(123, "user@example.com", "+1234567890", &vec![(2, 1), (1, 2)]);
        let hex: String = fingerprint(body).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "fc455c8df1e1e7053d23d2a46482061a94ad61b1e8d42af27fc0802ad94497aa");
    }

    #[test]
    fn a_clients_prices_do_not_count() {
        let plain = body(1, "a@b.cc", "+1234567", &vec![(1, 2)]);
        let mut priced = plain.clone();
        priced["items"][0]["price"] = json!(0.01);
        priced["total"] = json!(0.02);
        assert_eq!(fingerprint(plain), fingerprint(priced));
    }

    #[test]
    fn text_that_moves_from_one_field_to_the_next_is_another_order() {
        let lines = vec![(1, 1)];
        assert_ne!(
            fingerprint(body(1, "a@b.c1", "2345678", &lines)),
            fingerprint(body(1, "a@b.c", "12345678", &lines))
        );
    }

    /// Few enough values that two of them are often equal.
    fn few_lines() -> impl Strategy<Value = Lines> {
        proptest::collection::vec((1i32..=3, 1i64..=3), 1..=3)
    }

    proptest! {
        #[test]
        fn order_and_split_of_lines_do_not_matter(
            (lines, shuffled) in proptest::collection::vec((1i32..=20, 1i64..=50), 1..=20)
                .prop_flat_map(|lines| (Just(lines.clone()), Just(lines).prop_shuffle())),
            share in 1i64..=49,
        ) {
            let split: Lines = shuffled
                .into_iter()
                .flat_map(|(product, quantity)| {
                    let first = share.min(quantity);
                    [(product, first), (product, quantity - first)]
                })
                .filter(|(_, quantity)| *quantity > 0)
                .collect();
            prop_assert_eq!(
                fingerprint(body(7, "user@example.com", "+1234567890", &lines)),
                fingerprint(body(7, "user@example.com", "+1234567890", &split))
            );
        }

        #[test]
        fn two_requests_share_a_fingerprint_if_and_only_if_they_are_the_same_order(
            users in [1i64..=2, 1i64..=2],
            emails in ["[ab]@b\\.cc", "[ab]@b\\.cc"],
            phones in ["\\+?123456[78]", "\\+?123456[78]"],
            lines in [few_lines(), few_lines()],
        ) {
            let [one, other] = [0, 1].map(|n| fingerprint(body(users[n], &emails[n], &phones[n], &lines[n])));
            let same = users[0] == users[1]
                && emails[0] == emails[1]
                && phones[0] == phones[1]
                && merged(&lines[0]) == merged(&lines[1]);
            prop_assert_eq!(one == other, same);
        }
    }
}
