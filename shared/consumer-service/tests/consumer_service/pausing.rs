//! The operator's word, and the one that a consumer gives itself.

use persistence::intake;

use crate::stage::Stage;

#[tokio::test]
async fn a_pause_holds_for_every_process_of_the_group_and_for_those_that_start_later() {
    let stage = Stage::new().await;
    let (one, other) = (stage.start(&[]).await, stage.start(&[]).await);
    stage.until_members(2).await;
    stage.publish("a", "before").await;
    stage.until_count("noted", 1).await;

    assert!(intake::pause(&stage.pool, "ann", "moving house").await.unwrap());
    one.until_health_shows("moving house").await;
    other.until_health_shows("moving house").await;
    stage.until_members(0).await;
    stage.publish("a", "meanwhile").await;

    one.stop().await;
    let later = stage.start(&[]).await;
    later.until_health_shows("paused: by ann since ").await;
    let ready = later.get("/health/ready").await.unwrap();
    assert!(ready.contains(r#""status":"ready""#), "a paused process does what it should: {ready}");
    stage.until_members(0).await;
    assert_eq!(stage.count("noted").await, 1);

    assert!(intake::resume(&stage.pool).await.unwrap());
    stage.until_count("noted", 2).await;
    stage.until_members(2).await;
    other.stop().await;
    later.stop().await;
}

#[tokio::test]
async fn too_many_dead_letters_pause_the_group_until_an_operator_lets_it_go_on() {
    let stage = Stage::new().await;
    let few = ["--dead-letters-per-minute", "2"];
    let one = stage.start(&few).await;
    for key in ["a", "b", "c"] {
        stage.publish(key, "bad").await;
    }
    stage.until_count("intake", 1).await;
    let paused = intake::paused(&stage.pool).await.unwrap().unwrap();
    assert_eq!(paused.by, "noting");
    assert!(paused.why.contains("more than 2 dead letters in a minute"), "{}", paused.why);
    stage.until_members(0).await;
    stage.publish("d", "good").await;

    one.stop().await;
    let later = stage.start(&few).await;
    later.until_health_shows("paused: by noting").await;
    assert_eq!(stage.count("noted").await, 0);

    assert!(intake::resume(&stage.pool).await.unwrap());
    stage.until_count("noted", 1).await;
    assert_eq!(stage.count("intake").await, 0, "the third letter alone is not too many");
    later.stop().await;
}

#[tokio::test]
async fn the_process_that_paused_the_group_goes_on_when_it_is_told_to() {
    let stage = Stage::new().await;
    let one = stage.start(&["--dead-letters-per-minute", "1"]).await;
    for key in ["a", "b"] {
        stage.publish(key, "bad").await;
    }
    stage.until_count("intake", 1).await;
    assert!(intake::resume(&stage.pool).await.unwrap());
    stage.publish("c", "good").await;
    stage.until_count("noted", 1).await;
    assert_eq!(stage.count("intake").await, 0);
    one.stop().await;
}
