//! `ops republish`: events of accepted orders go into the outbox once more, and the relay publishes them like any other.
//!
//! For events that Kafka acknowledged and lost, such as by the crash of a machine with the only broker. An event that is put back has
//! its old id and says the same, so a consumer that has applied it does nothing, as long as its inbox remembers that. It comes after what is
//! on the topic already.
//!
//! An inbox remembers longer than the topic keeps records, or its consumer refuses to run. So what was accepted within the topic's retention
//! is safe; what is older may be forgotten, and then goes to dead letters as beyond-horizon. Its event must be of the very time at which it was
//! decided: were it a little later, it could be on this side of a horizon that its row in the inbox was on the other side of.

mod age;
mod settings;
mod stored;

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use chrono::Utc;
use messaging::{TopicRetention, topic_retention};
use sqlx::PgPool;
use uuid::Uuid;

use crate::audit::{self, MissingEvents, Search};
use crate::time;
use age::Age;

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
    /// An inbox that has forgotten them could take them for new.
    undated: usize,
    /// Inboxes may have forgotten them.
    old: usize,
}

pub(crate) async fn run(settings: &RepublishSettings) -> anyhow::Result<()> {
    let pool = persistence::pool::connect_lazy(&settings.orders_database_url, 1, "ops republish")?;
    let age = Age::of(&kept(settings).await?, Utc::now());
    let (orders, others) =
        if settings.missing { missing(settings, &age).await? } else { (named(settings, &pool).await?, 0) };
    let (mut done, all) = (Done::default(), orders.len());
    for (batch, orders) in orders.chunks(TOGETHER).enumerate() {
        let step = tokio::time::timeout(PATIENCE, put_back(&pool, settings, &age, orders)).await;
        let step = step.with_context(|| format!("no answer within {PATIENCE:?}")).and_then(|step| step);
        let step = step.with_context(|| {
            format!("{} events were put back; the others can be by the same command", done.put_back)
        })?;
        done.put_back += step.put_back;
        done.waiting += step.waiting;
        done.skipped += step.skipped;
        done.undated += step.undated;
        done.old += step.old;
        if all > TOGETHER {
            eprintln!("{} of {all} events are through", batch * TOGETHER + orders.len());
        }
    }
    let would = if settings.dry_run { "would be put" } else { "were put" };
    println!(
        "{} events {would} into the outbox; {} were in it already, {} an operator had skipped",
        done.put_back, done.waiting, done.skipped
    );
    if done.old > 0 {
        eprintln!(
            "warning: {} of them are of orders accepted {}: a consumer whose inbox has forgotten that (INBOX_RETENTION) sends the event to dead \
             letters as beyond-horizon",
            done.old, age.text
        );
    }
    if settings.dry_run {
        println!("Nothing was changed.");
    } else if done.put_back + done.waiting > 0 {
        println!("The relay publishes them; ops audit tells when they have arrived.");
    }
    ensure!(
        others == 0,
        "{others} missing events are not the first of their orders: what they said is not stored with the order"
    );
    ensure!(
        done.undated == 0,
        "{} events were left out: their orders were accepted {} and do not have the time of their event stored (migration orders/0006), so an inbox \
         that has forgotten one could take it for new and apply it twice",
        done.undated,
        age.text
    );
    Ok(())
}

/// How long the topic keeps records.
async fn kept(settings: &RepublishSettings) -> anyhow::Result<TopicRetention> {
    let topics = topic_retention(&settings.kafka, &[&settings.topic], PATIENCE).await;
    let topic =
        topics.with_context(|| format!("cannot ask Kafka how long {} keeps records", settings.topic))?;
    topic.into_iter().next().context("Kafka does not know the topic")
}

/// The orders whose first event is missing, and the number of missing events that are not an order's first.
async fn missing(settings: &RepublishSettings, age: &Age) -> anyhow::Result<(Vec<Uuid>, usize)> {
    let search = Search {
        kafka: &settings.kafka,
        topic: &settings.topic,
        orders_database_url: &settings.audit_orders_database_url,
        since: settings.since,
        until: settings.until,
    };
    let MissingEvents { events, oldest, published, until } = audit::find_missing(&search).await?;
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
    // Where the topic came back empty nothing tells what retention had removed from what was lost.
    if let Some(oldest) = oldest.filter(|oldest| settings.since.is_none() && age.is_old(*oldest)) {
        bail!(
            "nothing was put back: the oldest was accepted at {}, {}, so retention may have removed it and consumers may have forgotten it; \
             say --since, from when on Kafka has lost events",
            time::show(oldest),
            age.text
        );
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

/// Puts the first events of these orders into the outbox, all or none. A dry run only looks: it takes no lock and writes nothing.
async fn put_back(
    pool: &PgPool,
    settings: &RepublishSettings,
    age: &Age,
    orders: &[Uuid],
) -> anyhow::Result<Done> {
    let mut transaction = pool.begin().await.context("cannot reach the orders database")?;
    if !settings.dry_run {
        stored::lock(&mut transaction, orders).await.context("cannot lock the orders")?;
    }
    let mut stored = stored::read(&mut transaction, orders).await.context("cannot read the orders")?;
    // Asked under the locks: who puts the same events back at the same time has done so, or waits for us.
    let [waiting, skipped] = stored::not_to_be_put_back(&mut transaction, &stored).await?;
    stored.retain(|order| !waiting.contains(&order.event_id()) && !skipped.contains(&order.event_id()));
    let wanted = stored.len();
    stored.retain(|order| order.is_dated() || !age.is_old(order.accepted_at()));
    let undated = wanted - stored.len();
    let old = stored.iter().filter(|order| age.is_old(order.accepted_at())).count();
    let put_back = if settings.dry_run {
        stored.len()
    } else {
        stored::insert(&mut transaction, &settings.topic, &stored).await?
    };
    transaction.commit().await?;
    Ok(Done { put_back, waiting: waiting.len(), skipped: skipped.len(), undated, old })
}
