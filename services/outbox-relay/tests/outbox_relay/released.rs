//! Keys that were blocked and then released by an operator.

use std::time::Duration;

use persistence::outbox;
use testkit::eventually;
use uuid::Uuid;

use crate::fixture::Fixture;

#[tokio::test]
async fn the_rows_of_a_released_key_keep_their_order_when_the_relay_that_released_it_dies_before_it_sends_them()
 {
    let fixture = Fixture::new().await;
    let relay = fixture.relay();
    let (key, others) = (Uuid::now_v7(), (0..1500).map(|_| Uuid::now_v7()).collect::<Vec<_>>());
    fixture.insert(key, 1, &format!("\"{}\"", "x".repeat(2_000_000))).await;
    fixture.insert(key, 2, "{}").await;
    fixture.until_blocked(key).await;
    // Some in every bucket, so that every mark could move beyond the two.
    fixture.insert_for_all(&others, 1).await;
    fixture.insert_for_all(&others, 2).await;
    eventually("all buckets but that of the key are marked beyond its rows", async || {
        let buckets: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM outbox_lease WHERE mark > (SELECT max(id) FROM outbox WHERE aggregate_id = $1)",
        )
        .bind(key)
        .fetch_one(&fixture.pool)
        .await
        .unwrap();
        if buckets >= 63 { Ok(()) } else { Err(format!("{buckets} are")) }
    })
    .await;
    relay.stop().await;

    outbox::repair(&fixture.pool, key, "{}").await.unwrap();
    // A relay that dies at this very moment.
    let (owner, mut lease) = (Uuid::new_v4(), None);
    eventually("the key is taken up", async || {
        outbox::tend(&fixture.pool, owner, Duration::from_secs(60)).await.unwrap();
        let lease = lease.get_or_insert_with(|| outbox::Lease::new(owner));
        lease.extend(outbox::take(&fixture.pool, owner, outbox::BUCKETS).await.unwrap());
        match outbox::take_up_released(&fixture.pool, lease).await.unwrap() {
            0 => Err("it is not"),
            _ => Ok(()),
        }
    })
    .await;
    outbox::leave(&fixture.pool, owner).await.unwrap();
    fixture.insert(key, 3, "{}").await;
    let next = fixture.patient_relay();
    fixture.until_empty().await;
    next.stop().await;
    let records = fixture.read_all().await;
    let of_key = records.iter().filter(|record| record.key == key.to_string());
    let seen: Vec<&str> = of_key.map(|record| record.headers["ce_sequence"].as_str()).collect();
    assert_eq!(seen, ["1", "2", "3"]);
}
