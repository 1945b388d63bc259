//! The inbox is pruned in rounds, a round in small steps.

use std::time::Duration;

use persistence::inbox::{self, Horizon, PAGES_PER_STEP, Raised};
use sqlx::PgPool;
use tokio::time::sleep;
use tracing::{debug, info, warn};

/// Between two rounds of a group. A round reads the whole table once.
const REST: Duration = Duration::from_secs(60 * 60);
/// Between two looks whether the rest is over.
const LOOK: Duration = Duration::from_secs(60);
/// Between two steps: pruning leaves most of the time to the consumer.
const BETWEEN_STEPS: Duration = Duration::from_millis(100);
/// Between two looks whether old statements are over. They take milliseconds, at most what the role's time-outs allow.
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);
/// So many looks in vain are worth a line in the log.
const MANY_LOOKS: u32 = 60;

/// Forgets, for ever, what is older than `keep`. What fails is logged and made up for by the next round.
pub(crate) async fn prune(pool: &PgPool, keep: Duration) {
    loop {
        match inbox::raise_horizon(pool, keep, REST).await {
            Ok(Some(raised)) => match round(pool, &raised).await {
                Ok(removed) => info!(removed, horizon = %raised.pruned_up_to(), "inbox pruned"),
                Err(error) => warn!(%error, "the inbox is not pruned to the end, the next round goes on"),
            },
            // Another process has pruned, or does.
            Ok(None) => {}
            Err(error) => debug!(%error, "no round of pruning begun"),
        }
        sleep(LOOK).await;
    }
}

async fn round(pool: &PgPool, raised: &Raised) -> Result<u64, sqlx::Error> {
    let horizon = known(pool, raised).await?;
    let (mut removed, mut page) = (0, Some(0));
    while let Some(first_page) = page {
        let step = inbox::prune_step(pool, horizon, first_page, PAGES_PER_STEP).await?;
        removed += step.removed;
        page = step.next_page;
        sleep(BETWEEN_STEPS).await;
    }
    Ok(removed)
}

async fn known(pool: &PgPool, raised: &Raised) -> Result<Horizon, sqlx::Error> {
    let mut looks = 0;
    loop {
        if let Some(horizon) = raised.known(pool).await? {
            return Ok(horizon);
        }
        looks += 1;
        if looks == MANY_LOOKS {
            warn!("a transaction that somebody keeps open on this server holds the pruning of the inbox up");
        }
        sleep(BETWEEN_LOOKS).await;
    }
}
