//! Settings of `ops republish`.

use chrono::{DateTime, Utc};
use contracts::topics::ORDER_EVENTS;
use messaging::KafkaSettings;
use service_runtime::settings::postgres_url;
use uuid::Uuid;

use crate::time;

/// Which events to publish once more, and where they are.
#[derive(Clone, Debug, clap::Args)]
pub struct RepublishSettings {
    /// Orders whose events are published once more, missing or not: UUIDs
    #[arg(value_name = "ORDER_ID", required_unless_present = "missing", conflicts_with = "missing")]
    pub orders: Vec<Uuid>,
    /// Publish the events that ops audit calls missing: accepted, and neither on the topic nor in the outbox
    #[arg(long)]
    pub missing: bool,
    /// With --missing: only of orders accepted at this time or later: 2026-01-31T12:00:00Z, or a duration back from now such as 15m. Needed when Kafka came back empty:
    /// what retention had removed before is then missing as well. Without it nothing is done if a missing one is older than the topic keeps records
    #[arg(long, value_name = "TIME", value_parser = time::parse, requires = "missing")]
    pub since: Option<DateTime<Utc>>,
    /// With --missing: only of orders accepted at this time or earlier; the same forms
    #[arg(long, value_name = "TIME", value_parser = time::parse, requires = "missing")]
    pub until: Option<DateTime<Utc>>,
    /// Say what would be done, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Topic of the order events
    #[arg(long, value_name = "NAME", default_value = ORDER_EVENTS)]
    pub topic: String,
    /// Brokers.
    #[command(flatten)]
    pub kafka: KafkaSettings,
    /// Orders database, where the outbox is: postgres://user:password@host:port/database
    #[arg(long, env = "ORDERS_DATABASE_URL", hide_env_values = true, value_parser = postgres_url,
          default_value = "postgres://orders:orders@127.0.0.1:15432/orders")]
    pub orders_database_url: String,
    /// Orders database under the role that may read it for minutes, for --missing: postgres://user:password@host:port/database
    #[arg(long, env = "AUDIT_ORDERS_DATABASE_URL", hide_env_values = true, value_parser = postgres_url,
          default_value = "postgres://auditor:auditor@127.0.0.1:15432/orders")]
    pub audit_orders_database_url: String,
}
