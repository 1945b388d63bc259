//! Metrics of connections.

use std::borrow::Cow;

use sqlx::PgPool;
use telemetry::metrics::Metrics;

/// Shows how the pools are used, each under its name.
pub fn pools(metrics: &Metrics, pools: &[(&'static str, &PgPool)]) {
    let pools: Vec<(&'static str, PgPool)> =
        pools.iter().map(|(name, pool)| (*name, (*pool).clone())).collect();
    let most = pools.clone();
    metrics.gauges(
        "database_pool_connections",
        "Open connections to the database",
        ["pool", "state"],
        move || {
            let of = |name: &'static str, state, count: usize| {
                ([Cow::Borrowed(name), Cow::Borrowed(state)], count as f64)
            };
            let counts = pools.iter().flat_map(|(name, pool)| {
                let (all, idle) = (pool.size() as usize, pool.num_idle());
                [of(name, "idle", idle), of(name, "used", all.saturating_sub(idle))]
            });
            counts.collect()
        },
    );
    metrics.gauges(
        "database_pool_connections_max",
        "Connections to the database that may be open",
        ["pool"],
        move || {
            let max = |pool: &PgPool| f64::from(pool.options().get_max_connections());
            most.iter().map(|(name, pool)| ([Cow::Borrowed(*name)], max(pool))).collect()
        },
    );
}
