//! What follows a dead letter.

use crate::stage::Stage;

#[tokio::test]
async fn behind_a_dead_letter_a_key_is_held_if_the_setting_says_so_and_other_keys_go_on() {
    let stage = Stage::new().await;
    let holding = stage.start(&["--after-dead-letter", "hold-key"]).await;
    for name in ["bad", "behind", "behind it"] {
        stage.publish("a", name).await;
    }
    stage.until_count("held_records", 3).await;
    stage.publish("b", "good").await;
    stage.until_count("noted", 1).await;
    holding.stop().await;
}

#[tokio::test]
async fn behind_a_dead_letter_a_key_goes_on_if_nothing_else_was_asked_for() {
    let stage = Stage::new().await;
    let process = stage.start(&[]).await;
    for name in ["bad", "behind", "behind it"] {
        stage.publish("a", name).await;
    }
    stage.until_count("noted", 2).await;
    assert_eq!(stage.count("held_records").await, 0);
    process.stop().await;
}
