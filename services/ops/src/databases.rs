//! `ops migrate`.

use anyhow::Context;
use sqlx::migrate::Migrator;

use crate::config::Databases;

static ORDERS: Migrator = sqlx::migrate!("../../migrations/orders");
static EMAIL: Migrator = sqlx::migrate!("../../migrations/email");
static SMS: Migrator = sqlx::migrate!("../../migrations/sms");
static INVENTORY: Migrator = sqlx::migrate!("../../migrations/inventory");
static ANALYTICS: Migrator = sqlx::migrate!("../../migrations/analytics");
static BASELINE: Migrator = sqlx::migrate!("../../migrations/baseline");

pub(crate) async fn migrate(databases: &Databases) -> anyhow::Result<()> {
    for (name, url, migrations) in [
        ("orders", &databases.orders_database_url, &ORDERS),
        ("email", &databases.consumers.email_database_url, &EMAIL),
        ("sms", &databases.consumers.sms_database_url, &SMS),
        ("inventory", &databases.consumers.inventory_database_url, &INVENTORY),
        ("analytics", &databases.consumers.analytics_database_url, &ANALYTICS),
        ("baseline", &databases.baseline_database_url, &BASELINE),
    ] {
        let pool = persistence::pool::connect_lazy(url, 1, "ops")?;
        persistence::pool::migrate(&pool, migrations).await.with_context(|| format!("database {name}"))?;
        println!("{name}: up to date with {} migrations", migrations.iter().count());
    }
    Ok(())
}
