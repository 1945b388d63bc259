//! What the processes of a group tell each other through their database.

use persistence::held::{HeldRows, Place, Record};
use persistence::intake;

use crate::database;

#[tokio::test]
async fn the_first_word_about_the_intake_stands_until_it_is_taken_back() {
    let (_database, pool) = database("email").await;
    assert_eq!(intake::paused(&pool).await.unwrap(), None);
    assert!(intake::pause(&pool, "ann", "moving house").await.unwrap());
    assert!(!intake::pause(&pool, "email-consumer", "too many dead letters").await.unwrap());
    let paused = intake::paused(&pool).await.unwrap().unwrap();
    assert_eq!((paused.by.as_str(), paused.why.as_str()), ("ann", "moving house"));
    assert!(intake::resume(&pool).await.unwrap());
    assert_eq!(intake::paused(&pool).await.unwrap(), None);
    assert!(!intake::resume(&pool).await.unwrap(), "there was nothing to take back");
}

fn record(topic: &str, key: &str, offset: i64) -> Record {
    Record { topic: topic.to_owned(), key: key.as_bytes().to_vec(), offset }
}

#[tokio::test]
async fn records_behind_a_held_one_of_their_key_are_told_so_and_others_are_free() {
    let (_database, pool) = database("email").await;
    let held = HeldRows::new(pool);
    // Held twice is held once; twice in one call, too.
    let records = [record("t", "a", 5), record("t", "a", 9), record("t", "a", 5)];
    held.hold(&records).await.unwrap();
    held.hold(&records[..1]).await.unwrap();
    let asked = [
        record("t", "a", 4),
        record("t", "b", 6),
        record("t", "a", 5),
        record("t", "a", 6),
        record("other", "a", 6),
    ];
    let places = held.places(&asked).await.unwrap();
    assert_eq!(places, [Place::First, Place::Free, Place::First, Place::Behind, Place::Free]);

    held.release(&[record("t", "a", 5), record("t", "a", 6)]).await.unwrap();
    let places = held.places(&[record("t", "a", 9), record("t", "a", 10)]).await.unwrap();
    assert_eq!(places, [Place::First, Place::Behind]);
    held.release(&[record("t", "a", 9)]).await.unwrap();
    assert_eq!(held.places(&asked[..1]).await.unwrap(), [Place::Free]);
    assert_eq!(held.places(&[]).await.unwrap(), []);
}
