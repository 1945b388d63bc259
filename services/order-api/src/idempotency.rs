//! Orders that come again: which order stands under which key, and until when.
//!
//! The claim of a key is part of [`store::insert`], the statement that writes the order, so that only an order that stands is
//! remembered. Here is how a claimed key is read, and how it ends.

use std::time::Duration;

use contracts::Money;
use persistence::sql::Traced;
use sqlx::{PgConnection, PgPool};
use storefront::{Fingerprint, IdempotencyKey};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};
use uuid::Uuid;

use crate::store;

/// Keys removed by one statement: it is over in milliseconds and gives its connection back.
const BATCH: u64 = 1_000;
/// Between two batches when there is more to remove. 10,000 keys a second outrun any rate at which orders come.
const SHORT_REST: Duration = Duration::from_millis(100);
/// Once nothing is left to remove. An expired key is free at once, so there is no hurry.
const LONG_REST: Duration = Duration::from_secs(60);
/// Longer than a batch takes on any healthy database.
const PATIENCE: Duration = Duration::from_secs(5);

/// A key, and the order for which it is to stand.
#[derive(Clone)]
pub(crate) struct Claim {
    pub(crate) key: IdempotencyKey,
    pub(crate) fingerprint: Fingerprint,
    /// Age at which a key is free again.
    pub(crate) ttl: Duration,
}

/// The order that a key stands for.
pub(crate) struct Held {
    pub(crate) order_id: Uuid,
    pub(crate) total: Money,
    /// Whether it is the order that the claim was for.
    pub(crate) same_order: bool,
}

/// What stands under the key of `claim`. `None`: it is free.
pub(crate) async fn held(connection: &mut PgConnection, claim: &Claim) -> Result<Option<Held>, sqlx::Error> {
    sqlx::query!(
        r#"SELECT order_id, total_cents, fingerprint = $2 AS "same_order!"
           FROM idempotency_keys AS held JOIN orders ON orders.id = order_id
           WHERE key = $1 AND held.created_at > now() - make_interval(secs => $3)"#,
        claim.key.as_str(),
        claim.fingerprint.as_bytes(),
        claim.ttl.as_secs_f64()
    )
    .fetch_optional(connection)
    .traced("SELECT", "idempotency_keys")
    .await?
    .map(|row| {
        let total = store::money(row.total_cents)?;
        Ok(Held { order_id: row.order_id, total, same_order: row.same_order })
    })
    .transpose()
}

/// Removes expired keys until `shutdown`, a batch at a time, so that the table stays as big as one `ttl` of orders. Any number
/// of processes may do this at once.
pub(crate) async fn keep_house(pool: &PgPool, ttl: Duration, shutdown: &CancellationToken) {
    let work = async {
        loop {
            let rest = match timeout(PATIENCE, remove_expired(pool, ttl)).await {
                Ok(Ok(BATCH..)) => SHORT_REST,
                Ok(Ok(removed)) => {
                    debug!(keys.removed = removed, "no expired idempotency keys are left");
                    LONG_REST
                }
                Ok(Err(error)) => {
                    warn!(%error, "expired idempotency keys could not be removed, trying again later");
                    LONG_REST
                }
                Err(_) => {
                    warn!("the database did not answer about expired idempotency keys, trying again later");
                    LONG_REST
                }
            };
            sleep(rest).await;
        }
    };
    // Nothing is lost when a batch is cut off: it is one statement, and the next process finds the same keys.
    shutdown.run_until_cancelled(work).await;
}

/// One batch, oldest first. Keys that another process removes or takes over at this moment are left to it, so that nobody waits.
async fn remove_expired(pool: &PgPool, ttl: Duration) -> Result<u64, sqlx::Error> {
    let removed = sqlx::query!(
        "WITH expired AS MATERIALIZED (
             SELECT key FROM idempotency_keys WHERE created_at <= now() - make_interval(secs => $1)
             ORDER BY created_at LIMIT $2 FOR UPDATE SKIP LOCKED
         )
         DELETE FROM idempotency_keys AS held USING expired WHERE held.key = expired.key",
        ttl.as_secs_f64(),
        BATCH.cast_signed()
    )
    .execute(pool)
    .await?;
    Ok(removed.rows_affected())
}
