//! Commands and their settings.

use messaging::KafkaSettings;

use crate::audit::AuditSettings;
use crate::restock::RestockSettings;

/// Operator commands of orderflow.
#[derive(clap::Parser)]
#[command(name = "ops", version)]
pub struct Config {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What an operator can ask for.
#[derive(clap::Subcommand)]
pub enum Command {
    /// Apply the missing migrations to all databases; any number of times, also while services start
    Migrate(Databases),
    /// Create the missing topics, and check the partitions of the others
    Topics(KafkaSettings),
    /// Compare what was accepted with what was published, processed and delivered. Changes nothing
    ///
    /// A row for each stage. The exit status is 0 if nothing is missing, doubled or out of order, 1 if something is, and 2 if the
    /// audit could not be made. What is repeated, waiting or skipped is shown and is no finding.
    Audit(AuditSettings),
    /// Add pieces to the stock, as a recorded movement
    Restock(RestockSettings),
}

/// The database of each service.
#[derive(clap::Args)]
pub struct Databases {
    /// Orders database: postgres://user:password@host:port/database
    #[arg(long, env = "ORDERS_DATABASE_URL", hide_env_values = true, value_parser = service_runtime::settings::postgres_url,
          default_value = "postgres://orders:orders@127.0.0.1:15432/orders")]
    pub orders_database_url: String,
    /// E-mail database: postgres://user:password@host:port/database
    #[arg(long, env = "EMAIL_DATABASE_URL", hide_env_values = true, value_parser = service_runtime::settings::postgres_url,
          default_value = "postgres://email:email@127.0.0.1:15432/email")]
    pub email_database_url: String,
    /// SMS database: postgres://user:password@host:port/database
    #[arg(long, env = "SMS_DATABASE_URL", hide_env_values = true, value_parser = service_runtime::settings::postgres_url,
          default_value = "postgres://sms:sms@127.0.0.1:15432/sms")]
    pub sms_database_url: String,
    /// Inventory database: postgres://user:password@host:port/database
    #[arg(long, env = "INVENTORY_DATABASE_URL", hide_env_values = true, value_parser = service_runtime::settings::postgres_url,
          default_value = "postgres://inventory:inventory@127.0.0.1:15432/inventory")]
    pub inventory_database_url: String,
    /// Analytics database: postgres://user:password@host:port/database
    #[arg(long, env = "ANALYTICS_DATABASE_URL", hide_env_values = true, value_parser = service_runtime::settings::postgres_url,
          default_value = "postgres://analytics:analytics@127.0.0.1:15432/analytics")]
    pub analytics_database_url: String,
    /// Baseline database: postgres://user:password@host:port/database
    #[arg(long, env = "BASELINE_DATABASE_URL", hide_env_values = true, value_parser = service_runtime::settings::postgres_url,
          default_value = "postgres://baseline:baseline@127.0.0.1:15432/baseline")]
    pub baseline_database_url: String,
}
