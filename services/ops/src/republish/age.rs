//! Which orders are so old that a consumer may have forgotten their events.

use chrono::{DateTime, TimeDelta, Utc};
use messaging::TopicRetention;

use crate::time::CLOCKS;

/// The age from which on an order is old.
#[derive(Clone, Debug)]
pub(super) struct Age {
    /// Accepted before this; `None`: no order is old.
    before: Option<DateTime<Utc>>,
    /// What an old order is, for a sentence.
    pub(super) text: String,
}

impl Age {
    /// Longer ago than the topic keeps records. Inboxes remember longer than that, by days, or their consumers refuse to run; where the
    /// topic keeps records for ever, so do they.
    pub(super) fn of(topic: &TopicRetention, now: DateTime<Utc>) -> Self {
        let kept = topic.retention.and_then(|retention| TimeDelta::from_std(retention).ok());
        let before = kept.and_then(|kept| now.checked_sub_signed(kept + CLOCKS));
        let text = format!("longer ago than {} keeps records", topic.topic);
        Self { before, text }
    }

    pub(super) fn is_old(&self, accepted_at: DateTime<Utc>) -> bool {
        self.before.is_some_and(|before| accepted_at < before)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_order_is_old_if_the_topic_cannot_have_its_event_any_more() {
        let age = |retention| {
            let segment = Duration::from_secs(60);
            Age::of(&TopicRetention { topic: "events".to_owned(), retention, segment }, Utc::now())
        };
        let ago = |hours| Utc::now() - TimeDelta::hours(hours);
        let day = age(Some(Duration::from_secs(86_400)));
        assert_eq!([0, 23, 24, 25].map(|hours| day.is_old(ago(hours))), [false, false, false, true]);
        for endless in [None, Some(Duration::MAX)] {
            assert!(!age(endless).is_old(ago(1_000_000)), "{endless:?}");
        }
    }
}
