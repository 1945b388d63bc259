//! Names and shapes of the topics. `deploy/kafka/topics.csv` is the one list; whoever creates topics reads it here.

/// The topic of all order events: keyed by order id.
pub const ORDER_EVENTS: &str = "order.events";

/// Consumer group that confirms orders by e-mail.
pub const EMAIL_GROUP: &str = "email-service";
/// Consumer group that confirms orders by text message.
pub const SMS_GROUP: &str = "sms-service";
/// Consumer group that takes orders off the stock.
pub const INVENTORY_GROUP: &str = "inventory-service";
/// Consumer group that counts orders and revenue.
pub const ANALYTICS_GROUP: &str = "analytics-service";

const LIST: &str = include_str!("../../../deploy/kafka/topics.csv");

/// A topic as it has to exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// Name.
    pub name: String,
    /// Number of partitions; never reduced, since keys would move.
    pub partitions: i32,
    /// How long records are kept, in milliseconds.
    pub retention_ms: i64,
}

/// A line of the list that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("topics.csv line {line}: expected name,partitions,retention_ms")]
pub struct TopicListError {
    line: usize,
}

/// All topics of the system, as the list names them.
pub fn all() -> Result<Vec<Topic>, TopicListError> {
    LIST.lines()
        .enumerate()
        .skip(1)
        .filter(|(_, line)| !line.trim().is_empty())
        .map(|(index, line)| parse(line).ok_or(TopicListError { line: index + 1 }))
        .collect()
}

fn parse(line: &str) -> Option<Topic> {
    let mut fields = line.trim().split(',');
    let topic = Topic {
        name: fields.next()?.to_owned(),
        partitions: fields.next()?.parse().ok()?,
        retention_ms: fields.next()?.parse().ok()?,
    };
    fields.next().is_none().then_some(topic)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_events_has_twelve_partitions_and_a_week_of_retention() {
        let topics = all().unwrap();
        let events = topics.iter().find(|topic| topic.name == ORDER_EVENTS).unwrap();
        assert_eq!((events.partitions, events.retention_ms), (12, 7 * 24 * 3600 * 1000));
    }

    #[test]
    fn every_group_has_a_retry_and_a_dead_letter_topic() {
        let names: Vec<String> = all().unwrap().into_iter().map(|topic| topic.name).collect();
        for group in [EMAIL_GROUP, SMS_GROUP, INVENTORY_GROUP, ANALYTICS_GROUP] {
            assert!(names.contains(&format!("{ORDER_EVENTS}.{group}.dlq")), "{group}");
            assert!(names.contains(&format!("{ORDER_EVENTS}.{group}.retry")), "{group}");
        }
    }

    #[test]
    fn a_line_that_is_no_topic_is_named() {
        assert!(parse("order.events,twelve,1").is_none());
        assert!(parse("order.events,12,1,more").is_none());
    }
}
