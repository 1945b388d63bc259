use contracts::Money;
use storefront::Product;

use super::*;

const HOUR: Duration = Duration::from_secs(3600);

fn entry(name: &str) -> Arc<Entry> {
    let product = Product { id: 7, name: name.into(), price: Money::ZERO, description: String::new() };
    Arc::new(Entry::product(1, &product).unwrap())
}

/// Keeps a product that was just read on connection 1.
fn near(lease: Duration) -> Arc<Near> {
    let near = Near::new(lease);
    near.open(1);
    near.keep(near.ticket(1), 7, &entry("a"), HOUR);
    near
}

fn changed(keys: &[&str]) -> PushInfo {
    let keys = keys.iter().map(|key| Value::BulkString(key.as_bytes().to_vec())).collect();
    PushInfo { kind: PushKind::Invalidate, data: vec![Value::Array(keys)] }
}

#[test]
fn a_product_is_served_until_redis_says_that_it_changed() {
    let near = near(HOUR);
    assert!(near.get(7).is_some());
    near.hear(1, &changed(&["product:v2:8", "something else"]));
    assert!(near.get(7).is_some());
    near.hear(1, &changed(&["product:v2:7"]));
    assert!(near.get(7).is_none());
}

#[test]
fn everything_goes_when_redis_was_emptied_or_the_connection_is_gone_or_another_one_is_there() {
    let emptied = PushInfo { kind: PushKind::Invalidate, data: vec![Value::Nil] };
    let gone = PushInfo { kind: PushKind::Disconnection, data: Vec::new() };
    let cases: [&dyn Fn(&Near); 4] =
        [&|near| near.hear(1, &emptied), &|near| near.hear(1, &gone), &|near| near.close(1), &|near| {
            near.open(2)
        }];
    for (number, case) in cases.into_iter().enumerate() {
        let near = near(HOUR);
        case(&near);
        assert!(near.get(7).is_none(), "{number}");
    }
}

#[test]
fn the_end_of_an_old_connection_takes_nothing_from_the_new_one() {
    let near = near(HOUR);
    near.open(2);
    near.keep(near.ticket(2), 7, &entry("b"), HOUR);
    near.close(1);
    assert!(near.get(7).is_some());
}

#[test]
fn an_answer_is_not_kept_if_a_change_was_heard_of_since_it_was_asked_for() {
    let near = near(HOUR);
    let ticket = near.ticket(1);
    near.hear(1, &changed(&["product:v2:7"]));
    near.keep(ticket, 7, &entry("old"), HOUR);
    assert!(near.get(7).is_none());
}

#[test]
fn an_answer_on_a_connection_that_was_replaced_neither_is_kept_nor_renews_the_lease() {
    let near = near(HOUR);
    let ticket = near.ticket(1);
    near.open(2);
    near.keep(ticket, 7, &entry("old"), HOUR);
    assert!(near.get(7).is_none());
    assert_eq!(near.read().until, near.began);
}

#[test]
fn nothing_is_served_once_the_lease_is_over_and_all_is_again_when_redis_answered() {
    let near = near(HOUR);
    let now = Instant::now();
    near.write().until = now;
    assert!(near.get(7).is_none());
    near.keep(near.ticket(1), 8, &entry("b"), HOUR);
    assert!(near.get(7).is_some());
}

#[test]
fn one_reader_goes_to_redis_when_half_of_the_lease_is_over() {
    let near = near(HOUR);
    near.write().until = Instant::now() + HOUR / 4;
    // As if the process had run for longer than a quarter of the lease.
    let asks = |near: &Near| near.take_turn(near.began + HOUR);
    assert_eq!([asks(&near), asks(&near)], [true, false]);
    assert!(near.get(7).is_some(), "the others are served meanwhile");
}

#[test]
fn a_product_is_kept_no_longer_than_redis_would() {
    let near = near(HOUR);
    near.keep(near.ticket(1), 7, &entry("a"), Duration::ZERO);
    assert!(near.get(7).is_none());
}

#[test]
fn there_is_a_bound_to_how_many_are_kept_and_how_long_they_are() {
    let near = near(HOUR);
    for id in 0..10_000 {
        near.keep(near.ticket(1), id, &entry("a"), HOUR);
    }
    assert_eq!(near.read().products.len(), PRODUCTS);
    near.keep(near.ticket(1), -1, &entry(&"a".repeat(PRODUCT_BYTES)), HOUR);
    near.keep(near.ticket(1), -2, &Arc::new(Entry::none()), HOUR);
    assert!(near.get(-1).is_none() && near.get(-2).is_none());
}

#[test]
fn without_a_lease_nothing_is_served() {
    let near = near(Duration::ZERO);
    assert!(!near.is_on() && near.get(7).is_none());
}
