//! From the moment when an order was due to the commit of its last effect.
//!
//! Nobody of the system is asked: PostgreSQL notes when each transaction was committed (`track_commit_timestamp`), and the row of an event in a
//! group's inbox belongs to the transaction of its effect. The load and the server read the same clock.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context, bail};
use chrono::{DateTime, Utc};
use contracts::event_id;
use tokio::time::Instant;
use uuid::Uuid;

use super::clients::{self, Open};
use super::sizes::Sizes;
use super::stage::Stage;
use crate::bench::progress;
use crate::bench::relay::numbers::Percentiles;
use crate::bench::report::{Figure, Target, Unit, number};

/// Orders without an answer at a time.
const IN_FLIGHT: u64 = 256;
/// An order has one event.
const FIRST: i64 = 1;
/// What is aimed at for p99, in milliseconds.
const SOON: f64 = 100.0;

/// The databases of the groups.
#[derive(Clone, Debug, clap::Args)]
pub struct GroupDatabases {
    /// Database of email-consumer
    #[arg(long, env = "EMAIL_DATABASE_URL", hide_env_values = true, value_parser = service_runtime::settings::postgres_url)]
    pub email_database_url: String,
    /// Database of sms-consumer
    #[arg(long, env = "SMS_DATABASE_URL", hide_env_values = true, value_parser = service_runtime::settings::postgres_url)]
    pub sms_database_url: String,
    /// Database of inventory-consumer
    #[arg(long, env = "INVENTORY_DATABASE_URL", hide_env_values = true, value_parser = service_runtime::settings::postgres_url)]
    pub inventory_database_url: String,
    /// Database of analytics-consumer
    #[arg(long, env = "ANALYTICS_DATABASE_URL", hide_env_values = true, value_parser = service_runtime::settings::postgres_url)]
    pub analytics_database_url: String,
}

impl GroupDatabases {
    fn named(&self) -> [(&'static str, &str); 4] {
        [
            ("email", &self.email_database_url),
            ("sms", &self.sms_database_url),
            ("inventory", &self.inventory_database_url),
            ("analytics", &self.analytics_database_url),
        ]
    }
}

/// Measures.
///
/// # Errors
/// An order was not accepted, an effect is missing, or PostgreSQL does not note when transactions are committed.
pub(super) async fn measure(
    stage: &mut Stage,
    sizes: Sizes,
    groups: &GroupDatabases,
) -> anyhow::Result<Vec<Figure>> {
    let shop = stage.shop;
    let rate = sizes.timed_rate;
    let open = Open { rate, length: sizes.timed, in_flight: IN_FLIGHT, remember: true };
    let rehearsal = Open { length: sizes.timed / 3, remember: false, ..open };
    stage.put(async |_, _| clients::open(shop, rehearsal, 21).await).await?;
    let outcome = stage.put(async |_, _| clients::open(shop, open, 22).await).await?;
    if !outcome.tally.refused.is_empty() {
        bail!("{} orders were refused", outcome.tally.refused.len());
    }
    let (now, clock) = (Instant::now(), Utc::now());
    let due: HashMap<Uuid, DateTime<Utc>> = outcome
        .tally
        .orders
        .iter()
        .map(|(order, due)| (event_id(*order, FIRST), clock - (now - *due)))
        .collect();
    let mut last: HashMap<Uuid, Duration> = HashMap::new();
    let mut figures = Vec::new();
    for (group, url) in groups.named() {
        let commits = commits(url, &due).await.with_context(|| format!("the inbox of {group}"))?;
        let mut latencies = Vec::with_capacity(commits.len());
        for (event, at) in commits {
            let Some(due) = due.get(&event) else { continue };
            let latency = (at - due).to_std().unwrap_or_default();
            latencies.push(latency);
            let so_far = last.entry(event).or_default();
            *so_far = latency.max(*so_far);
        }
        let latency = Percentiles::of(latencies).context("no effect was found")?;
        figures.push(Figure::new(
            format!("from due to the effect of {group}, p99"),
            Unit::Millis,
            latency.p99,
        ));
    }
    let answered = Percentiles::of(outcome.tally.accepted).context("no order was accepted")?;
    let latency = Percentiles::of(last.into_values().collect()).context("no effect was found")?;
    progress(format!("  p50/p95/p99 {:.1}/{:.1}/{:.1} ms", latency.p50, latency.p95, latency.p99));
    let rate = number(rate);
    let mut all: Vec<Figure> = answered
        .named()
        .into_iter()
        .map(|(name, value)| {
            Figure::new(format!("from due to accepted at {rate}/s, {name}"), Unit::Millis, value)
        })
        .collect();
    for (name, value) in latency.named() {
        let figure =
            Figure::new(format!("from due to the last effect at {rate}/s, {name}"), Unit::Millis, value);
        all.push(if name == "p99" {
            figure.target(Target::AtMost(SOON)).used(&outcome.spent)
        } else {
            figure
        });
    }
    all.extend(figures);
    Ok(all)
}

/// When the effect of each event was committed.
async fn commits(
    url: &str,
    events: &HashMap<Uuid, DateTime<Utc>>,
) -> anyhow::Result<Vec<(Uuid, DateTime<Utc>)>> {
    let database = persistence::pool::connect_lazy(url, 1, "bench")?;
    let ids: Vec<Uuid> = events.keys().copied().collect();
    let found: Vec<(Uuid, DateTime<Utc>)> =
        sqlx::query_as("SELECT event_id, pg_xact_commit_timestamp(xmin) FROM inbox WHERE event_id = ANY($1)")
            .bind(&ids)
            .fetch_all(&database)
            .await
            .context("it is not known when effects were committed")?;
    database.close().await;
    if found.len() != ids.len() {
        bail!("{} events have an effect, of {}", found.len(), ids.len());
    }
    Ok(found)
}
