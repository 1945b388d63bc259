//! `ops republish`: events of accepted orders go into the outbox once more, and the relay publishes them like any other.
//!
//! For events that Kafka acknowledged and lost, such as by the crash of a machine with the only broker. An event that is put back has
//! its old id and says the same, so a consumer that has applied it does nothing. It comes after what is on the topic already.

mod settings;
mod stored;

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use sqlx::PgPool;
use uuid::Uuid;

use crate::audit::{self, MissingEvents, Search};
use crate::time;

pub(crate) use settings::RepublishSettings;

/// Orders that are put back in one transaction: a fraction of a second of locks that nobody else wants.
const TOGETHER: usize = 500;
/// How long such a transaction may take. The role's own time-outs end a statement earlier.
const PATIENCE: Duration = Duration::from_secs(30);
/// Orders that are named in what is printed.
const NAMED: usize = 20;

/// What became of the events.
#[derive(Debug, Default)]
struct Done {
    put_back: usize,
    /// In the outbox already.
    waiting: usize,
    /// An operator decided that they are not to be published.
    skipped: usize,
}

pub(crate) async fn run(settings: &RepublishSettings) -> anyhow::Result<()> {
    let pool = persistence::pool::connect_lazy(&settings.orders_database_url, 1, "ops republish")?;
    let (orders, others) =
        if settings.missing { missing(settings).await? } else { (named(settings, &pool).await?, 0) };
    let (mut done, all) = (Done::default(), orders.len());
    for (batch, orders) in orders.chunks(TOGETHER).enumerate() {
        let step = tokio::time::timeout(PATIENCE, put_back(&pool, settings, orders)).await;
        let step = step.with_context(|| format!("no answer within {PATIENCE:?}")).and_then(|step| step);
        let step = step.with_context(|| {
            format!("{} events were put back; the others can be by the same command", done.put_back)
        })?;
        done.put_back += step.put_back;
        done.waiting += step.waiting;
        done.skipped += step.skipped;
        if all > TOGETHER {
            eprintln!("{} of {all} events are through", batch * TOGETHER + orders.len());
        }
    }
    let would = if settings.dry_run { "would be put" } else { "were put" };
    println!(
        "{} events {would} into the outbox; {} were in it already, {} an operator had skipped",
        done.put_back, done.waiting, done.skipped
    );
    if settings.dry_run {
        println!("Nothing was changed.");
    } else if done.put_back + done.waiting > 0 {
        println!("The relay publishes them; ops audit tells when they have arrived.");
    }
    ensure!(
        others == 0,
        "{others} missing events are not the first of their orders: what they said is not stored with the order"
    );
    Ok(())
}

/// The orders whose first event is missing, and the number of missing events that are not an order's first.
async fn missing(settings: &RepublishSettings) -> anyhow::Result<(Vec<Uuid>, usize)> {
    let search = Search {
        kafka: &settings.kafka,
        topic: &settings.topic,
        orders_database_url: &settings.audit_orders_database_url,
        since: settings.since,
        until: settings.until,
    };
    let MissingEvents { events, published, until } = audit::find_missing(&search).await?;
    println!(
        "{} of {} events of orders accepted until {} are neither on the topic nor in the outbox ({} wait there, {} were skipped, {} are out of sight)",
        published.missing,
        published.checked,
        time::show(until),
        published.waiting,
        published.skipped,
        published.out_of_sight
    );
    for (order, sequence) in events.iter().take(NAMED) {
        println!("  order {order}, event {sequence}");
    }
    if let Some(more @ 1..) = events.len().checked_sub(NAMED) {
        println!("  and {more} more");
    }
    let (first, others): (Vec<_>, Vec<_>) = events.into_iter().partition(|(_, sequence)| *sequence == 1);
    Ok((first.into_iter().map(|(order, _)| order).collect(), others.len()))
}

/// The orders that were named, each once. All of them exist, or nothing is done.
async fn named(settings: &RepublishSettings, pool: &PgPool) -> anyhow::Result<Vec<Uuid>> {
    let mut orders = settings.orders.clone();
    orders.sort_unstable();
    orders.dedup();
    let known = tokio::time::timeout(PATIENCE, stored::known(pool, &orders));
    let known = known.await.with_context(|| format!("no answer within {PATIENCE:?}"))??;
    let unknown: Vec<String> =
        orders.iter().filter(|order| !known.contains(order)).map(Uuid::to_string).collect();
    if !unknown.is_empty() {
        bail!("no such order was accepted, so nothing was done: {}", unknown.join(", "));
    }
    Ok(orders)
}

/// Puts the first events of these orders into the outbox, all or none. A dry run does the same and takes it back.
async fn put_back(pool: &PgPool, settings: &RepublishSettings, orders: &[Uuid]) -> anyhow::Result<Done> {
    let mut transaction = pool.begin().await.context("cannot reach the orders database")?;
    let mut stored = stored::lock(&mut transaction, orders).await.context("cannot read the orders")?;
    // Asked under the locks: who puts the same events back at the same time has done so, or waits for us.
    let [waiting, skipped] = stored::not_to_be_put_back(&mut transaction, &stored).await?;
    stored.retain(|order| !waiting.contains(&order.event_id()) && !skipped.contains(&order.event_id()));
    let put_back = stored::insert(&mut transaction, &settings.topic, &stored).await?;
    if settings.dry_run { transaction.rollback().await } else { transaction.commit().await }?;
    Ok(Done { put_back, waiting: waiting.len(), skipped: skipped.len() })
}
