//! The mail that confirms an order.

use std::fmt::Write;
use std::time::SystemTime;

use contracts::{Envelope, Money, OrderCreated, OrderLine};
use lettre::message::Mailbox;
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::{Address, Message};
use uuid::Uuid;

const SUBJECT: &str = "We received your order";

/// Why no mail can be written for an event. The texts name no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unwritable {
    /// The customer's address is none.
    #[error("the e-mail address of the order is not valid")]
    Address,
    /// A line is worth more than an amount can say.
    #[error("a line of the order is too large")]
    Amount,
    /// lettre refused what it was given.
    #[error("the mail cannot be composed")]
    Message,
}

/// The idempotency key towards the provider: one event has one Message-ID, whoever sends it and however often.
pub fn message_id(event_id: Uuid) -> String {
    format!("<{event_id}@orderflow>")
}

/// The confirmation of an order. The same event gives the same mail.
pub fn confirmation(from: &Mailbox, event: &Envelope<OrderCreated>) -> Result<Message, Unwritable> {
    let order = &event.data;
    // Parsing refuses line breaks, so an address cannot add header fields or recipients.
    let to: Address = order.email.parse().map_err(|_| Unwritable::Address)?;
    Message::builder()
        .from(from.clone())
        .to(Mailbox::new(None, to))
        .subject(SUBJECT)
        .message_id(Some(message_id(event.id)))
        .date(SystemTime::from(event.occurred_at))
        .raw_header(header("X-Order-Id", order.order_id.to_string()))
        // RFC 3834: out-of-office robots do not answer to it.
        .raw_header(header("Auto-Submitted", "auto-generated".to_owned()))
        .header(ContentType::TEXT_PLAIN)
        .body(text(order)?)
        .map_err(|_| Unwritable::Message)
}

fn header(name: &'static str, value: String) -> HeaderValue {
    HeaderValue::new(HeaderName::new_from_ascii_str(name), value)
}

fn text(order: &OrderCreated) -> Result<String, Unwritable> {
    let mut text = format!(
        "Thank you for your order.\n\n\
         Order:  {}\n\
         Status: received\n\n",
        order.order_id
    );
    for OrderLine { product_id, quantity, unit_price } in &order.items {
        let amount = line_amount(*unit_price, *quantity)?;
        // Writing to a String cannot fail.
        let _ = writeln!(text, "Product {product_id}: {quantity} x {unit_price} = {amount}");
    }
    let _ = writeln!(text, "\nTotal: {}", order.total);
    Ok(text)
}

fn line_amount(unit_price: Money, quantity: i32) -> Result<Money, Unwritable> {
    unit_price.checked_mul(quantity.into()).map_err(|_| Unwritable::Amount)
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use contracts::ORDER_CREATED;

    use super::*;

    fn event(email: &str) -> Envelope<OrderCreated> {
        let order_id = Uuid::from_u128(7);
        let data = OrderCreated {
            order_id,
            user_id: 1,
            email: email.to_owned(),
            phone: "+1234567890".to_owned(),
            items: vec![
                OrderLine { product_id: 1, quantity: 2, unit_price: Money::from_cents(2999).unwrap() },
                OrderLine { product_id: 42, quantity: 1, unit_price: Money::from_cents(5).unwrap() },
            ],
            total: Money::from_cents(6003).unwrap(),
        };
        Envelope::new(ORDER_CREATED, "/test", order_id, 1, DateTime::UNIX_EPOCH, data)
    }

    fn written(event: &Envelope<OrderCreated>) -> String {
        let from = "orderflow <orders@orderflow.example>".parse().unwrap();
        String::from_utf8(confirmation(&from, event).unwrap().formatted()).unwrap()
    }

    #[test]
    fn the_mail_says_what_was_ordered_and_that_it_was_received() {
        let event = event("ann@example.com");
        let mail = written(&event);
        for part in [
            "To: ann@example.com\r\n",
            "From: orderflow <orders@orderflow.example>\r\n",
            "Subject: We received your order\r\n",
            "X-Order-Id: 00000000-0000-0000-0000-000000000007\r\n",
            "Auto-Submitted: auto-generated\r\n",
            "Status: received\r\n",
            "Product 1: 2 x 29.99 = 59.98\r\n",
            "Product 42: 1 x 0.05 = 0.05\r\n",
            "Total: 60.03\r\n",
        ] {
            assert!(mail.contains(part), "{part:?} is missing in\n{mail}");
        }
        assert!(mail.contains(&format!("Message-ID: <{}@orderflow>\r\n", event.id)), "{mail}");
    }

    #[test]
    fn the_same_event_gives_the_same_mail() {
        assert_eq!(written(&event("ann@example.com")), written(&event("ann@example.com")));
    }

    #[test]
    fn an_address_with_a_line_break_or_without_a_domain_is_refused() {
        let from = "orders@orderflow.example".parse().unwrap();
        for address in ["ann", "ann@", "@example.com", "ann@example.com\r\nBcc: eve@example.com", "", "a b@c"]
        {
            let refused = confirmation(&from, &event(address)).unwrap_err();
            assert_eq!(refused, Unwritable::Address, "{address:?}");
        }
    }

    #[test]
    fn a_line_beyond_all_amounts_is_refused() {
        let mut event = event("ann@example.com");
        event.data.items[0] = OrderLine { product_id: 1, quantity: i32::MAX, unit_price: Money::LIMIT };
        let from = "orders@orderflow.example".parse().unwrap();
        assert_eq!(confirmation(&from, &event).unwrap_err(), Unwritable::Amount);
    }
}
