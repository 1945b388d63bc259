//! Settings of `ops audit`.

use std::time::Duration;

use chrono::{DateTime, Utc};
use contracts::topics::ORDER_EVENTS;
use messaging::KafkaSettings;
use service_runtime::settings::{duration, postgres_url};

/// What to audit, and where it is.
#[derive(Clone, Debug, clap::Args)]
pub struct AuditSettings {
    /// Only orders accepted at this time or later: 2026-01-31T12:00:00Z, or a duration back from now such as 15m. Sums that cannot be cut there are not compared
    #[arg(long, value_name = "TIME", value_parser = crate::time::parse)]
    pub since: Option<DateTime<Utc>>,
    /// Only orders accepted at this time or earlier; the same forms
    #[arg(long, value_name = "TIME", value_parser = crate::time::parse)]
    pub until: Option<DateTime<Utc>>,
    /// How long to wait for the relay and the consumers to get past what was accepted: a duration such as 30s. What is not through by then counts as waiting
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = duration)]
    pub wait: Duration,
    /// Examples shown of each column and stage: a number from 0 to 1000
    #[arg(long, value_name = "NUMBER", default_value_t = 5, value_parser = clap::value_parser!(u16).range(0..=1000))]
    pub examples: u16,
    /// Print JSON and nothing else
    #[arg(long)]
    pub json: bool,
    /// Topic of the order events
    #[arg(long, value_name = "NAME", default_value = ORDER_EVENTS)]
    pub topic: String,
    /// Stand-in for the e-mail and text-message companies: http://host:port, or none when real companies are used
    #[arg(long, env = "AUDIT_PROVIDER_URL", value_name = "URL", default_value = "http://127.0.0.1:5020", value_parser = provider)]
    pub provider: Provider,
    /// Brokers.
    #[command(flatten)]
    pub kafka: KafkaSettings,
    /// Databases.
    #[command(flatten)]
    pub databases: AuditDatabases,
}

/// The databases under the role that may read all of them and write none.
#[derive(Clone, Debug, clap::Args)]
pub struct AuditDatabases {
    /// Orders database, for reading: postgres://user:password@host:port/database
    #[arg(long, env = "AUDIT_ORDERS_DATABASE_URL", hide_env_values = true, value_parser = postgres_url,
          default_value = "postgres://auditor:auditor@127.0.0.1:15432/orders")]
    pub audit_orders_database_url: String,
    /// E-mail database, for reading: postgres://user:password@host:port/database
    #[arg(long, env = "AUDIT_EMAIL_DATABASE_URL", hide_env_values = true, value_parser = postgres_url,
          default_value = "postgres://auditor:auditor@127.0.0.1:15432/email")]
    pub audit_email_database_url: String,
    /// SMS database, for reading: postgres://user:password@host:port/database
    #[arg(long, env = "AUDIT_SMS_DATABASE_URL", hide_env_values = true, value_parser = postgres_url,
          default_value = "postgres://auditor:auditor@127.0.0.1:15432/sms")]
    pub audit_sms_database_url: String,
    /// Inventory database, for reading: postgres://user:password@host:port/database
    #[arg(long, env = "AUDIT_INVENTORY_DATABASE_URL", hide_env_values = true, value_parser = postgres_url,
          default_value = "postgres://auditor:auditor@127.0.0.1:15432/inventory")]
    pub audit_inventory_database_url: String,
    /// Analytics database, for reading: postgres://user:password@host:port/database
    #[arg(long, env = "AUDIT_ANALYTICS_DATABASE_URL", hide_env_values = true, value_parser = postgres_url,
          default_value = "postgres://auditor:auditor@127.0.0.1:15432/analytics")]
    pub audit_analytics_database_url: String,
}

/// Who delivers e-mails and text messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Provider {
    /// A provider-sim at this URL, which lists what it has delivered.
    Simulator(String),
    /// Somebody who cannot be asked: deliveries are not compared.
    NotAsked,
}

fn provider(text: &str) -> Result<Provider, String> {
    match text.trim_end_matches('/') {
        "none" => Ok(Provider::NotAsked),
        url if url.starts_with("http://") || url.starts_with("https://") => {
            Ok(Provider::Simulator(url.to_owned()))
        }
        _ => Err("expected http://host:port or none".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provider_is_a_url_or_none() {
        assert_eq!(provider("http://sim:5020/"), Ok(Provider::Simulator("http://sim:5020".to_owned())));
        assert_eq!(provider("none"), Ok(Provider::NotAsked));
        assert!(provider("sim").is_err());
    }
}
