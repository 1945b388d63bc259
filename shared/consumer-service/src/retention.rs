//! Whether the inbox remembers longer than Kafka does.
//!
//! An event comes again as long as a copy of it is somewhere: on its topic; at the end of that time it goes to dead letters and stays
//! there; at the end of that time an operator replays it, and the retry topic keeps it. Kafka removes whole segments, so each of
//! the three takes `segment.ms` longer than it says.
//!
//! That is one round. A replay that fails becomes a new letter, which is kept anew, and an event may have waited in the outbox before: it can come
//! later still. Then it is refused as `beyond-horizon` and an operator decides; it is never applied twice.

use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use messaging::{KafkaSettings, TopicRetention, dead_letters, topic_retention};
use tracing::{info, warn};

use crate::settings::Text;

/// How long Kafka may take to answer, and the pause before it is asked again.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why the retention of the inbox is refused.
#[derive(Debug, thiserror::Error)]
pub enum TooShort {
    /// A copy of an event may live longer.
    #[error(
        "INBOX_RETENTION={} is not valid: expected more than {}, the longest that an event is kept on its way through dead letters and one replay ({parts}), or forever",
        Text(*keep),
        Text(*needed)
    )]
    Than {
        /// The setting.
        keep: Duration,
        /// What it has to exceed.
        needed: Duration,
        /// How that comes together.
        parts: String,
    },
    /// A topic keeps everything.
    #[error("INBOX_RETENTION={} is not valid: expected forever, since the topic {topic} keeps its records for ever", Text(*keep))]
    Endless {
        /// The setting.
        keep: Duration,
        /// The topic.
        topic: String,
    },
}

/// Why nothing is pruned yet, for health: Kafka may be away for a moment, or never allow the question. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Unanswered(Arc<Mutex<Option<String>>>);

impl Unanswered {
    pub(crate) fn state(&self) -> Result<(), String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone().map_or(Ok(()), Err)
    }

    fn set(&self, why: Option<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = why;
    }
}

/// Asks Kafka, for as long as it takes to get an answer, how long the topics of `group` keep records. Fails if `keep` is not longer.
pub(crate) async fn check(
    kafka: &KafkaSettings,
    source: &str,
    group: &str,
    keep: Duration,
    unanswered: &Unanswered,
) -> Result<(), TooShort> {
    let (retry, letters) = (dead_letters::retry_topic(source, group), dead_letters::topic(source, group));
    let mut waiting = false;
    loop {
        match topic_retention(kafka, &[source, &letters, &retry], PATIENCE).await {
            Ok(topics) => {
                unanswered.set(None);
                let needed = compare(keep, &topics)?;
                info!(kept = %Text(keep), needed = %Text(needed), "the inbox remembers longer than Kafka");
                return Ok(());
            }
            Err(error) => {
                unanswered.set(Some(format!(
                    "nothing is pruned, Kafka does not say how long topics keep records: {error}"
                )));
                if !waiting {
                    warn!(%error, "Kafka does not say how long topics keep records, nothing is pruned until it does");
                    waiting = true;
                }
            }
        }
        tokio::time::sleep(PATIENCE).await;
    }
}

/// The time that `keep` exceeds.
fn compare(keep: Duration, topics: &[TopicRetention]) -> Result<Duration, TooShort> {
    let (mut needed, mut parts) = (Duration::ZERO, String::new());
    for topic in topics {
        let Some(retention) = topic.retention else {
            return Err(TooShort::Endless { keep, topic: topic.topic.clone() });
        };
        needed = needed.saturating_add(retention).saturating_add(topic.segment);
        let separator = if parts.is_empty() { "" } else { ", " };
        let (kept, segment) = (Text(retention), Text(topic.segment));
        // Writing to a string does not fail.
        write!(parts, "{separator}{} {kept} and its segment.ms {segment}", topic.topic).ok();
    }
    if keep > needed { Ok(needed) } else { Err(TooShort::Than { keep, needed, parts }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    fn topics(retention: [Option<u32>; 3]) -> Vec<TopicRetention> {
        let names = ["events", "events.g.dlq", "events.g.retry"];
        let topic = |(name, days): (&str, Option<u32>)| TopicRetention {
            topic: name.to_owned(),
            retention: days.map(|days| DAY * days),
            segment: DAY * 7,
        };
        names.into_iter().zip(retention).map(topic).collect()
    }

    #[test]
    fn the_inbox_has_to_remember_longer_than_all_copies_live_one_after_another() {
        let topics = topics([Some(7), Some(14), Some(7)]);
        assert!(compare(DAY * 60, &topics).is_ok_and(|needed| needed == DAY * 49));
        let refusal = compare(DAY * 49, &topics).unwrap_err().to_string();
        assert_eq!(
            refusal,
            "INBOX_RETENTION=49d is not valid: expected more than 49d, the longest that an event is kept on its way through dead \
             letters and one replay (events 7d and its segment.ms 7d, events.g.dlq 14d and its segment.ms 7d, events.g.retry 7d and its segment.ms 7d), or forever"
        );
    }

    #[tokio::test]
    async fn as_long_as_kafka_does_not_answer_health_says_that_nothing_is_pruned() {
        let nobody = KafkaSettings { brokers: "127.0.0.1:1".to_owned() };
        let unanswered = Unanswered::default();
        let asking = check(&nobody, "events", "g", DAY, &unanswered);
        let said = testkit::eventually("health says so", async || match unanswered.state() {
            Ok(()) => Err("nothing"),
            Err(why) => {
                assert!(why.starts_with("nothing is pruned, Kafka does not say"), "{why}");
                Ok(())
            }
        });
        tokio::select! {
            asked = asking => panic!("{asked:?}"),
            () = said => {}
        }
    }

    #[test]
    fn beside_a_topic_that_keeps_everything_nothing_may_be_forgotten() {
        let refusal = compare(DAY * 3650, &topics([Some(7), None, Some(7)])).unwrap_err().to_string();
        assert_eq!(
            refusal,
            "INBOX_RETENTION=3650d is not valid: expected forever, since the topic events.g.dlq keeps its records for ever"
        );
    }
}
