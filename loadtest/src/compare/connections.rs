//! Connections that the systems have to the database.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context;
use sqlx::PgPool;
use tokio::time::{MissedTickBehavior, interval};

use crate::report::run::Run;

const LOOK: Duration = Duration::from_millis(250);

/// Looks at PostgreSQL's sessions while `load` runs. Returns the most that there were at a time, by the name that each application gives itself.
///
/// # Errors
/// PostgreSQL does not say, or the load failed.
pub(super) async fn most_while(
    database: &PgPool,
    load: impl Future<Output = anyhow::Result<Run>>,
) -> anyhow::Result<(Run, BTreeMap<String, u64>)> {
    let (mut most, mut ticks) = (BTreeMap::new(), interval(LOOK));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tokio::pin!(load);
    loop {
        tokio::select! {
            biased;
            run = &mut load => return Ok((run?, most)),
            _ = ticks.tick() => {
                for (name, count) in sessions(database).await? {
                    let seen = most.entry(name).or_default();
                    *seen = count.max(*seen);
                }
            }
        }
    }
}

async fn sessions(database: &PgPool) -> anyhow::Result<Vec<(String, u64)>> {
    let rows: Vec<(String, i64)> = sqlx::query_as(
        "SELECT coalesce(application_name, ''), count(*) FROM pg_stat_activity
         WHERE backend_type = 'client backend' OR (backend_type IS NULL AND datname IS NOT NULL) GROUP BY 1",
    )
    .fetch_all(database)
    .await
    .context("PostgreSQL does not say who is connected")?;
    rows.into_iter().map(|(name, count)| Ok((name, u64::try_from(count)?))).collect()
}
