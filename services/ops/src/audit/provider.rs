//! The provider's own books: what it delivered and what it recognised as a repeat.

use anyhow::Context;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use uuid::Uuid;

use super::PATIENCE;
use super::compare::{Once, Orders};

/// Entries in a page.
const ENTRIES: usize = 5000;

/// A page of `GET /api/journal`.
#[derive(Deserialize)]
struct Page {
    entries: Vec<Entry>,
    next: u64,
    end: u64,
}

#[derive(Deserialize)]
struct Entry {
    at: DateTime<Utc>,
    channel: Channel,
    outcome: Outcome,
    key: Option<String>,
    order_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Channel {
    Email,
    Sms,
}

#[derive(PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    Taken,
    TakenAnswerLost,
    Repeated,
    Refused,
}

/// What the provider's books say beside the deliveries of the audited orders.
#[derive(Debug, Default)]
pub(super) struct Strangers {
    /// Orders that are not among those audited, by channel.
    pub(super) email: Vec<Uuid>,
    /// The same of text messages.
    pub(super) sms: Vec<Uuid>,
    /// Deliveries that name no order of ours at all.
    pub(super) unnamed: u64,
}

/// Reads everything that the provider has decided by now, and not before `since`.
pub(super) async fn read(
    url: &str,
    since: Option<DateTime<Utc>>,
    orders: &Orders,
    email: &mut Once,
    sms: &mut Once,
) -> anyhow::Result<Strangers> {
    let client = reqwest::Client::builder().timeout(PATIENCE).build()?;
    let mut strangers = Strangers::default();
    // Where the journal ended when we began: it may grow faster than we read.
    let (mut after, mut end) = (0, u64::MAX);
    while after < end {
        let page = page(&client, url, after).await.with_context(|| format!("the provider at {url}"))?;
        end = end.min(page.end);
        if page.next <= after {
            break;
        }
        after = page.next;
        for entry in page.entries.into_iter().filter(|entry| since.is_none_or(|since| entry.at >= since)) {
            let (once, others) = match entry.channel {
                Channel::Email => (&mut *email, &mut strangers.email),
                Channel::Sms => (&mut *sms, &mut strangers.sms),
            };
            let order = entry.order_id.as_deref().and_then(|id| id.parse::<Uuid>().ok());
            match (entry.outcome, order) {
                (Outcome::Refused, _) => {}
                (Outcome::Repeated, order) => {
                    let subject = order.map_or_else(|| "no order".to_owned(), |order| order.to_string());
                    once.repeat(&subject, entry.key.as_deref().unwrap_or("none"));
                }
                (Outcome::Taken | Outcome::TakenAnswerLost, None) => strangers.unnamed += 1,
                (Outcome::Taken | Outcome::TakenAnswerLost, Some(order)) => match orders.position(order) {
                    Some(position) => once.effect(position),
                    None => others.push(order),
                },
            }
        }
    }
    Ok(strangers)
}

async fn page(client: &reqwest::Client, url: &str, after: u64) -> anyhow::Result<Page> {
    let request =
        client.get(format!("{url}/api/journal")).query(&[("after", after), ("limit", ENTRIES as u64)]);
    let answer = request.send().await?.error_for_status()?;
    answer.json().await.context("the answer is no page of a provider-sim's journal")
}
