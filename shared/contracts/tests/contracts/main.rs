//! What consumers that were built yesterday rely on.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use contracts::{DecodeError, Envelope, Money, OrderCreated, OrderLine, decode_order_created, event_id};
use serde_json::{Value, json};
use uuid::Uuid;

const GOLDEN: &str = include_str!("../golden/order_created.json");
const ORDER: Uuid = Uuid::from_u128(0x0192_f0c1_2b3c_7d4e_8f50_6172_8394_0a1b);

fn order_created() -> Envelope<OrderCreated> {
    // Finer than Postgres keeps it.
    let decided_at = "2026-01-02T03:04:05.678901234Z".parse().unwrap();
    let order = OrderCreated {
        order_id: ORDER,
        user_id: 123,
        email: "user@example.com".to_owned(),
        phone: "+1234567890".to_owned(),
        items: vec![OrderLine { product_id: 1, quantity: 2, unit_price: Money::from_cents(2999).unwrap() }],
        total: Money::from_cents(5998).unwrap(),
    };
    order.into_event(decided_at)
}

fn golden() -> Value {
    serde_json::from_str(GOLDEN).unwrap()
}

fn decode(value: &Value) -> Result<Option<Envelope<OrderCreated>>, DecodeError> {
    decode_order_created(value.to_string().as_bytes())
}

#[test]
fn order_created_is_written_as_the_golden_file_says() {
    assert_eq!(serde_json::to_value(order_created()).unwrap(), golden());
}

#[test]
fn the_golden_file_is_read_back_whole() {
    assert_eq!(decode_order_created(GOLDEN.as_bytes()).unwrap().unwrap(), order_created());
}

#[test]
fn the_same_event_has_the_same_id_in_every_process_and_another_event_another() {
    assert_eq!(event_id(ORDER, 1), event_id(ORDER, 1));
    assert_ne!(event_id(ORDER, 1), event_id(ORDER, 2));
    assert_ne!(event_id(ORDER, 1), event_id(Uuid::nil(), 1));
}

#[test]
fn unknown_fields_are_ignored_so_that_producers_can_add_some() {
    let mut event = golden();
    event["added"] = json!(true);
    event["data"]["added"] = json!({"deep": [1]});
    assert!(decode(&event).unwrap().is_some());
}

#[test]
fn a_sound_event_of_an_unknown_type_is_skipped_whatever_its_data() {
    let mut event = golden();
    event["type"] = json!("OrderGiftWrapped");
    event["schema_version"] = json!("7.1");
    event["data"] = json!([1, 2, 3]);
    assert_eq!(decode(&event).unwrap(), None);
}

#[test]
fn a_higher_minor_version_is_read_and_a_higher_major_one_refused() {
    let mut event = golden();
    event["schema_version"] = json!("1.9");
    assert!(decode(&event).unwrap().is_some());
    event["schema_version"] = json!("2.0");
    assert_eq!(decode(&event), Err(DecodeError::UnsupportedVersion { found: "2".to_owned() }));
    event["schema_version"] = json!("latest");
    assert!(matches!(decode(&event), Err(DecodeError::UnsupportedVersion { .. })));
}

#[test]
fn what_is_no_event_of_ours_is_refused_without_repeating_its_content() {
    for payload in
        [&b""[..], b"hello user@example.com", b"{}", b"[1]", b"\xff\xfe", br#"{"type":"OrderCreated"}"#]
    {
        let error = decode_order_created(payload).unwrap_err();
        assert!(matches!(error, DecodeError::NotAnEnvelope(_)), "{error}");
        assert!(!error.to_string().contains("user@"), "{error}");
    }
}

#[test]
fn data_that_contradict_the_envelope_or_make_no_order_are_refused() {
    for (path, value) in [
        ("/data/order_id", json!(Uuid::nil())),
        ("/data/items", json!([])),
        ("/data/items/0/quantity", json!(0)),
        ("/data/items/0/quantity", json!("two")),
        ("/data/total", json!("59.98")),
        ("/data", Value::Null),
    ] {
        let mut event = golden();
        *event.pointer_mut(path).unwrap() = value;
        assert!(matches!(decode(&event), Err(DecodeError::BadData(_))), "{path}");
    }
}

#[test]
fn debug_output_of_an_order_holds_no_personal_data() {
    let text = format!("{:?}", order_created());
    assert!(!text.contains("user@example.com") && !text.contains("1234567890"), "{text}");
}
