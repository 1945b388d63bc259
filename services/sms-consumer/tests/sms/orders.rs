//! Orders to confirm.

use chrono::Utc;
use contracts::{Envelope, Money, ORDER_CREATED, OrderCreated, OrderLine};
use uuid::Uuid;

pub(crate) fn order_for(phone: &str) -> Envelope<OrderCreated> {
    let order_id = Uuid::now_v7();
    let data = OrderCreated {
        order_id,
        user_id: 1,
        email: "ann@example.com".to_owned(),
        phone: phone.to_owned(),
        items: vec![OrderLine { product_id: 1, quantity: 2, unit_price: Money::from_cents(2999).unwrap() }],
        total: Money::from_cents(5998).unwrap(),
    };
    Envelope::new(ORDER_CREATED, "/test", order_id, 1, Utc::now(), data)
}

pub(crate) fn order() -> Envelope<OrderCreated> {
    order_for("+1234567890")
}
