//! Who can be hit.

use std::fmt;

/// A process of the stack, by what `./dev` calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Target {
    /// Takes orders.
    OrderApi,
    /// Publishes the outbox.
    Relay,
    /// A second one, which takes over from the first.
    SecondRelay,
    /// Confirms by e-mail.
    Email,
    /// Confirms by text message.
    Sms,
    /// Takes pieces off the stock.
    Inventory,
    /// Adds up.
    Analytics,
    /// Both companies that deliver messages.
    Provider,
    /// Reads the topic with many events per key.
    LadderConsumer,
    /// A second one in the same group.
    SecondLadderConsumer,
    /// PostgreSQL, with all its processes.
    Postgres,
    /// Redis.
    Redis,
    /// Kafka.
    Kafka,
}

impl Target {
    /// Everybody.
    pub const ALL: [Self; 13] = [
        Self::OrderApi,
        Self::Relay,
        Self::SecondRelay,
        Self::Email,
        Self::Sms,
        Self::Inventory,
        Self::Analytics,
        Self::Provider,
        Self::LadderConsumer,
        Self::SecondLadderConsumer,
        Self::Postgres,
        Self::Redis,
        Self::Kafka,
    ];

    /// The relays.
    pub const RELAYS: [Self; 2] = [Self::Relay, Self::SecondRelay];

    /// Its name for `./dev start` and `./dev stop`.
    pub fn name(self) -> &'static str {
        match self {
            Self::OrderApi => "order-api",
            Self::Relay => "outbox-relay",
            Self::SecondRelay => "outbox-relay-2",
            Self::Email => "email-consumer",
            Self::Sms => "sms-consumer",
            Self::Inventory => "inventory-consumer",
            Self::Analytics => "analytics-consumer",
            Self::Provider => "provider-sim",
            Self::LadderConsumer => "chaos-consumer",
            Self::SecondLadderConsumer => "chaos-consumer-2",
            Self::Postgres => "postgres",
            Self::Redis => "redis",
            Self::Kafka => "kafka",
        }
    }

    /// Whether it is a server and no process of ours.
    pub fn is_server(self) -> bool {
        matches!(self, Self::Postgres | Self::Redis | Self::Kafka)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
