//! Writing rungs: the aggregate's row is locked, its sequence goes up, and the event goes into the outbox, in one transaction.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::Context;
use chrono::Utc;
use contracts::Envelope;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use sqlx::PgPool;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{RUNG_CLIMBED, Rung, SOURCE, TOPIC};

/// Keys. Few, so that each gets many events and several are in the relay's hands at a time.
const LADDERS: usize = 40;
/// The fewest events that a key has at the end.
pub const LEAST_RUNGS: i64 = 10;
/// Writers, so that transactions of one ladder meet.
const WRITERS: usize = 4;
/// How long one rung may take.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(200);

/// For each ladder the highest rung whose commit was acknowledged.
pub type Acknowledged = HashMap<Uuid, i64>;

/// Writes `rate` rungs per second until `stop`, to ladders that chance picks. Outages are waited out; a rung without an answer is not
/// written again, since the database knows whether it stands.
pub async fn climb(pool: &PgPool, seed: u64, rate: f64, stop: &CancellationToken) -> Acknowledged {
    let mut random = StdRng::seed_from_u64(seed);
    let ladders: Vec<Uuid> = (0..LADDERS).map(|_| Uuid::from_u128(random.random())).collect();
    let pace = Duration::from_secs_f64(WRITERS as f64 / rate);
    let writers = (0..WRITERS).map(|_| {
        let random = StdRng::seed_from_u64(random.random());
        writer(pool, &ladders, random, pace, stop)
    });
    let mut all = Acknowledged::new();
    for (ladder, rung) in futures::future::join_all(writers).await.into_iter().flatten() {
        let highest = all.entry(ladder).or_default();
        *highest = rung.max(*highest);
    }
    all
}

async fn writer(
    pool: &PgPool,
    ladders: &[Uuid],
    mut random: StdRng,
    pace: Duration,
    stop: &CancellationToken,
) -> Acknowledged {
    let mut acknowledged = Acknowledged::new();
    let mut ticks = interval(pace);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let Some(ladder) = ladders.choose(&mut random).copied() else { break };
        if let Ok(Ok(rung)) = timeout(PATIENCE, rung(pool, ladder)).await {
            acknowledged.insert(ladder, rung);
        }
    }
    acknowledged
}

/// Adds a last rung to every ladder, and more until it has [`LEAST_RUNGS`]; returns how high each is.
///
/// The last rung is a mark: events of a key are published and handled in their order, so whatever was still on its way, repeats too, has
/// been handled when it arrives.
pub async fn finish(pool: &PgPool, patience: Duration) -> anyhow::Result<HashMap<Uuid, i64>> {
    let work = async {
        loop {
            if let Ok(heights) = try_finish(pool).await {
                break heights;
            }
            sleep(PAUSE).await;
        }
    };
    timeout(patience, work).await.context("the orders database does not let the ladders be finished")
}

async fn try_finish(pool: &PgPool) -> Result<HashMap<Uuid, i64>, sqlx::Error> {
    let mut heights: HashMap<Uuid, i64> =
        sqlx::query_as::<_, (Uuid, i64)>("SELECT id, last_sequence FROM chaos_ladders")
            .fetch_all(pool)
            .await?
            .into_iter()
            .collect();
    for (ladder, height) in &mut heights {
        loop {
            *height = rung(pool, *ladder).await?;
            if *height >= LEAST_RUNGS {
                break;
            }
        }
    }
    Ok(heights)
}

/// One rung; returns which.
async fn rung(pool: &PgPool, ladder: Uuid) -> Result<i64, sqlx::Error> {
    let mut transaction = pool.begin().await?;
    let sequence: i64 = sqlx::query_scalar(
        "INSERT INTO chaos_ladders AS ladder (id, last_sequence) VALUES ($1, 1)
         ON CONFLICT (id) DO UPDATE SET last_sequence = ladder.last_sequence + 1 RETURNING last_sequence",
    )
    .bind(ladder)
    .fetch_one(&mut *transaction)
    .await?;
    let event = Envelope::new(RUNG_CLIMBED, SOURCE, ladder, sequence, Utc::now(), Rung {});
    let payload = serde_json::to_string(&event).map_err(|error| sqlx::Error::Encode(error.into()))?;
    // As migrations/orders/0003_outbox.sql documents it. The row above is locked, so the outbox id is taken in commit order.
    sqlx::query(
        "INSERT INTO outbox (topic, aggregate_id, sequence, event_id, event_type, source, payload)
         VALUES ($1, $2, $3, $4, $5, $6, $7::text::json)",
    )
    .bind(TOPIC)
    .bind(ladder)
    .bind(sequence)
    .bind(event.id)
    .bind(RUNG_CLIMBED)
    .bind(SOURCE)
    .bind(payload)
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(sequence)
}
