//! The consumer groups that an operator can name, and the database that each of them keeps its effects in.

use std::fmt;

use clap::ValueEnum;
use contracts::topics::{ANALYTICS_GROUP, EMAIL_GROUP, INVENTORY_GROUP, SMS_GROUP};
use service_runtime::settings::postgres_url;

/// A consumer group, by the name that Kafka knows it under.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Group {
    /// Confirms orders by e-mail
    #[value(name = EMAIL_GROUP)]
    Email,
    /// Confirms orders by text message
    #[value(name = SMS_GROUP)]
    Sms,
    /// Takes orders off the stock
    #[value(name = INVENTORY_GROUP)]
    Inventory,
    /// Counts orders and revenue
    #[value(name = ANALYTICS_GROUP)]
    Analytics,
}

impl Group {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 4] = [Self::Email, Self::Sms, Self::Inventory, Self::Analytics];

    /// Its name in Kafka.
    pub fn name(self) -> &'static str {
        match self {
            Self::Email => EMAIL_GROUP,
            Self::Sms => SMS_GROUP,
            Self::Inventory => INVENTORY_GROUP,
            Self::Analytics => ANALYTICS_GROUP,
        }
    }

    /// The URL of its database.
    pub fn database(self, databases: &GroupDatabases) -> &str {
        match self {
            Self::Email => &databases.email_database_url,
            Self::Sms => &databases.sms_database_url,
            Self::Inventory => &databases.inventory_database_url,
            Self::Analytics => &databases.analytics_database_url,
        }
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The database of each consumer, under the consumer's own role.
#[derive(Clone, Debug, clap::Args)]
pub struct GroupDatabases {
    /// E-mail database: postgres://user:password@host:port/database
    #[arg(long, env = "EMAIL_DATABASE_URL", hide_env_values = true, value_parser = postgres_url,
          default_value = "postgres://email:email@127.0.0.1:15432/email")]
    pub email_database_url: String,
    /// SMS database: postgres://user:password@host:port/database
    #[arg(long, env = "SMS_DATABASE_URL", hide_env_values = true, value_parser = postgres_url,
          default_value = "postgres://sms:sms@127.0.0.1:15432/sms")]
    pub sms_database_url: String,
    /// Inventory database: postgres://user:password@host:port/database
    #[arg(long, env = "INVENTORY_DATABASE_URL", hide_env_values = true, value_parser = postgres_url,
          default_value = "postgres://inventory:inventory@127.0.0.1:15432/inventory")]
    pub inventory_database_url: String,
    /// Analytics database: postgres://user:password@host:port/database
    #[arg(long, env = "ANALYTICS_DATABASE_URL", hide_env_values = true, value_parser = postgres_url,
          default_value = "postgres://analytics:analytics@127.0.0.1:15432/analytics")]
    pub analytics_database_url: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_named_on_the_command_line_as_in_kafka() {
        for group in Group::ALL {
            assert_eq!(Group::from_str(group.name(), false), Ok(group));
        }
    }
}
