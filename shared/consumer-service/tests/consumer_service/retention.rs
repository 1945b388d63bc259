//! What may be forgotten is asked of Kafka.

use crate::stage::Stage;

#[tokio::test]
async fn a_process_that_would_forget_events_before_kafka_does_ends_and_names_the_numbers() {
    let stage = Stage::new().await;
    let failure = stage.start(&["--inbox-retention", "14d"]).await.failure().await;
    // The topic: 7 days and as much for a segment, Kafka's defaults; the two others: an hour and 7 days.
    let expected = "INBOX_RETENTION=14d is not valid: expected more than 674h";
    assert!(failure.starts_with("inbox failed: ") && failure.contains(expected), "{failure}");
    assert!(
        failure.contains("7d and its segment.ms 7d") && failure.contains("1h and its segment.ms 7d"),
        "{failure}"
    );
}

#[tokio::test]
async fn a_process_that_forgets_nothing_needs_no_answer_and_one_that_remembers_longer_forgets_what_is_old() {
    let stage = Stage::new().await;
    let forever = stage.start(&["--inbox-retention", "forever"]).await;
    stage.publish("a", "good").await;
    stage.until_count("noted", 1).await;
    let ages = "INSERT INTO inbox SELECT gen_random_uuid(), now() - make_interval(days => age) FROM unnest(ARRAY[30, 28]) AS age";
    sqlx::query(ages).execute(&stage.pool).await.unwrap();
    assert_eq!(stage.count("inbox_horizon WHERE isfinite(pruned_up_to)").await, 0);
    forever.stop().await;

    let longer = stage.start(&["--inbox-retention", "29d"]).await;
    stage.until_count("inbox", 1).await;
    assert_eq!(stage.count("inbox WHERE occurred_at > now() - interval '29 days'").await, 1);
    longer.stop().await;
}
