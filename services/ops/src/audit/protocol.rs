//! The steps of the audit, in their order.

use std::ops::RangeInclusive;

use chrono::{DateTime, Utc};
use messaging::KafkaSettings;
use sqlx::PgConnection;
use tokio::time::Instant;
use uuid::Uuid;

use super::accepted::{self, Accepted};
use super::compare::{Outcome, Published, Stage, minute_of};
use super::database::connect;
use super::report::{AcceptedTotals, Report};
use super::settings::{AuditSettings, Provider};
use super::stages::{Effects, FirstEvents};
use super::topic::{Group, Rest, Topic};
use crate::time::CLOCKS;

/// Compares everything. An error means that something could not be read: then nothing is said about the rest either.
pub async fn audit(settings: &AuditSettings) -> anyhow::Result<Report> {
    let deadline = Instant::now() + settings.wait;
    let url = &settings.databases.audit_orders_database_url;
    let topic = Topic::connect(&settings.kafka, &settings.topic, settings.since).await?;

    let accepted = accepted::read(url, settings.since, settings.until).await?;
    let orders = &accepted.orders;
    let outbox_passed = accepted::wait_for_outbox(url, &settings.topic, accepted.until, deadline).await?;
    let mut groups = topic.wait_for_groups(deadline).await?;

    let mut effects = Effects::new(settings, orders.len());
    let strangers = effects.read(settings, orders).await?;

    let mut database = connect(url, "orders").await?;
    let minutes = compared_minutes(settings);
    let stage = Stage::new("published", "events", settings.examples.into());
    let (published, mut rest) =
        compare_topic(&topic, url, &accepted, stage, &mut groups, &mut database, &minutes).await?;
    topic.read_dead_letters(orders, &mut groups).await?;
    effects.look_for_phantoms(&strangers, &mut database).await?;

    let mut notes = notes(&groups, &rest, outbox_passed, published.stage.out_of_sight);
    if strangers.unnamed > 0 {
        notes.push(format!("the provider has {} deliveries that name no order", strangers.unnamed));
    }
    rest.late.sort_unstable_by_key(|late| late.id);
    rest.late.dedup_by_key(|late| late.id);

    let first = FirstEvents { fates: &published.fates, minutes: &published.minutes };
    let sales = match settings.since.or(settings.until) {
        None => Some(effects.sales(&accepted, &first, &groups, &rest.late, &mut database).await?),
        Some(_) => None,
    };
    let effects = effects.finish(orders, &first, &groups, &rest.late, minutes);
    let mut stages = vec![published.stage];
    stages.extend(effects);
    stages.extend(sales);
    Ok(Report::new(
        (settings.since, accepted.until),
        AcceptedTotals::of(orders),
        stages,
        notes,
        not_checked(settings),
    ))
}

/// What is left in the outbox, and only then the topic to its end: what is in neither was never published, or is lost.
async fn compare_topic(
    topic: &Topic,
    url: &str,
    accepted: &Accepted,
    stage: Stage,
    groups: &mut [Group],
    database: &mut PgConnection,
    minutes: &RangeInclusive<i64>,
) -> anyhow::Result<(Outcome, Rest)> {
    let orders = &accepted.orders;
    let backlog = accepted::backlog(url, &topic.name, accepted).await?;
    let mut published = Published::new(stage, orders);
    let rest = topic.read(orders, &mut published, groups, database, minutes).await?;
    let outcome = published.finish(&backlog, |position| {
        let order = orders.all().get(position);
        order.is_some_and(|order| rest.out_of_sight(order.id, order.created_at))
    });
    Ok((outcome, rest))
}

/// Where to look for missing events: the part of the settings of an audit that concerns the topic.
#[derive(Clone, Debug)]
pub(crate) struct Search<'a> {
    pub(crate) kafka: &'a KafkaSettings,
    pub(crate) topic: &'a str,
    /// The orders database under the role that audits.
    pub(crate) orders_database_url: &'a str,
    pub(crate) since: Option<DateTime<Utc>>,
    pub(crate) until: Option<DateTime<Utc>>,
}

/// Events that are neither on the topic nor in the outbox.
#[derive(Debug)]
pub(crate) struct MissingEvents {
    /// Order and sequence.
    pub(crate) events: Vec<(Uuid, i64)>,
    /// When the first of these orders was accepted.
    pub(crate) oldest: Option<DateTime<Utc>>,
    /// The row `published` of the audit.
    pub(crate) published: Stage,
    /// The orders up to here were looked at.
    pub(crate) until: DateTime<Utc>,
}

/// The first row of the audit alone, with every missing event. It waits for nothing: what is in the outbox is not missing.
pub(crate) async fn find_missing(search: &Search<'_>) -> anyhow::Result<MissingEvents> {
    let Search { kafka, topic, orders_database_url: url, since, until } = *search;
    let topic = Topic::connect(kafka, topic, since).await?;
    let accepted = accepted::read(url, since, until).await?;
    let mut database = connect(url, "orders").await?;
    let (stage, no_minutes) = (Stage::new("published", "events", 0), RangeInclusive::new(i64::MAX, i64::MIN));
    let (outcome, _) =
        compare_topic(&topic, url, &accepted, stage, &mut [], &mut database, &no_minutes).await?;
    let orders = accepted.orders.all();
    let missing = outcome.missing.iter();
    let missing: Vec<_> =
        missing.filter_map(|(position, sequence)| Some((orders.get(*position)?, *sequence))).collect();
    Ok(MissingEvents {
        events: missing.iter().map(|(order, sequence)| (order.id, *sequence)).collect(),
        oldest: missing.iter().map(|(order, _)| order.created_at).min(),
        published: outcome.stage,
        until: accepted.until,
    })
}

/// The minutes in which no order but those audited, and those that the topic shows, can have been counted. All of them without a
/// window.
fn compared_minutes(settings: &AuditSettings) -> RangeInclusive<i64> {
    let first = settings.since.map_or(i64::MIN, minute_of);
    let last = settings.until.map_or(i64::MAX, |until| minute_of(until + CLOCKS));
    first.saturating_add(1)..=last
}

fn notes(groups: &[Group], rest: &Rest, outbox_passed: bool, out_of_sight: u64) -> Vec<String> {
    let mut notes = Vec::new();
    if !outbox_passed {
        notes.push("the outbox still held audited events when the wait was over".to_owned());
    }
    for group in groups.iter().filter(|group| group.records_behind > 0) {
        let (name, records) = (group.name, group.records_behind);
        notes.push(format!("{name} was {records} records behind when the wait was over"));
    }
    if rest.foreign > 0 {
        notes.push(format!("{} records on the topic are no events of ours", rest.foreign));
    }
    if out_of_sight > 0 {
        notes.push(format!("retention has removed {out_of_sight} events from the topic or may have: whether they were published, doubled or out of order cannot be seen any more"));
    }
    notes
}

fn not_checked(settings: &AuditSettings) -> Vec<String> {
    let mut not_checked = Vec::new();
    if settings.provider == Provider::NotAsked {
        not_checked.push("what the provider has delivered".to_owned());
    }
    if settings.since.is_some() {
        not_checked.push("analytics: the minute in which the window begins".to_owned());
    }
    if settings.since.or(settings.until).is_some() {
        not_checked.push("sales: sums per product and day cannot be cut at the window".to_owned());
    }
    not_checked
}
