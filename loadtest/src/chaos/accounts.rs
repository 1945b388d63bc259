//! Every order that was sent, accounted for: a 2xx names an order that is there, and a key stands for one order.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use futures::StreamExt;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::report::{Load, Row};
use crate::load::{Answer, Fate, Sent, Shop};

/// Requests at a time. The load is over; this is only not to take for ever.
const TOGETHER: usize = 16;
/// How long the shop may take to answer one question definitely. Nothing is done to it any more.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(200);
/// Orders that were accepted at once and whose key is nevertheless tried again.
const SAMPLE: usize = 300;

/// Orders whose client was told that they stand, each once.
pub(super) fn accepted(sent: &[Sent]) -> HashSet<Uuid> {
    sent.iter().filter_map(order_id).collect()
}

/// The load in numbers.
pub(super) fn load(sent: &[Sent]) -> Load {
    let replayed = |sent: &&Sent| matches!(sent.fate, Fate::Accepted { replayed: true, .. });
    Load {
        sent: sent.len(),
        accepted: sent.iter().filter_map(order_id).count(),
        requests: sent.iter().map(|sent| u64::from(sent.attempts)).sum(),
        unknown: sent.iter().filter(|sent| sent.attempts > 1).count(),
        replayed: sent.iter().filter(replayed).count(),
        most_attempts: sent.iter().map(|sent| sent.attempts).max().unwrap_or_default(),
        ..Load::default()
    }
}

/// What the clients know without asking again: no order was refused or left without an answer, none was given to two of them.
pub(super) fn answers(sent: &[Sent]) -> Row {
    let mut row = Row::new("answers", "requests");
    row.checked = sent.len() as u64;
    let mut owners: HashMap<Uuid, &str> = HashMap::new();
    for Sent { order, fate, attempts, .. } in sent {
        match fate {
            Fate::Accepted { order_id, .. } => {
                if let Some(other) = owners.insert(*order_id, &order.key) {
                    row.doubled += 1;
                    row.example(
                        "doubled",
                        order_id,
                        format!("the answer to two keys, {other} and {}", order.key),
                    );
                }
            }
            Fate::Refused(reason) => {
                row.missing += 1;
                row.example("missing", &order.key, format!("refused: {reason}"));
            }
            Fate::Unanswered(reason) => {
                row.waiting += 1;
                row.example(
                    "waiting",
                    &order.key,
                    format!("no definite answer to {attempts} requests: {reason}"),
                );
            }
        }
    }
    row
}

/// Asks for every accepted order.
pub(super) async fn exist(shop: &Shop, accepted: &HashSet<Uuid>) -> Row {
    let mut row = Row::new("answered 2xx", "orders");
    row.checked = accepted.len() as u64;
    let asked =
        futures::stream::iter(accepted).map(|id| async move { (id, definite(|| shop.has_order(*id)).await) });
    let mut answers = asked.buffer_unordered(TOGETHER);
    while let Some((id, answer)) = answers.next().await {
        match answer {
            Ok(true) => {}
            Ok(false) => {
                row.missing += 1;
                row.example("missing", id, "answered with a 2xx, and GET does not find it".to_owned());
            }
            Err(reason) => {
                row.waiting += 1;
                row.example("waiting", id, format!("GET gets no answer: {reason}"));
            }
        }
    }
    row
}

/// Sends orders once more under their keys: all whose outcome was ever unknown, and some of the others. The answer has to name the
/// same order.
pub(super) async fn keys(shop: &Shop, sent: &[Sent]) -> Row {
    let known = sent.iter().filter(|sent| order_id(sent).is_some());
    let (unknown, plain): (Vec<_>, Vec<_>) = known.partition(|sent| sent.attempts > 1);
    let again: Vec<&Sent> = unknown.into_iter().chain(plain.into_iter().take(SAMPLE)).collect();
    let mut row = Row::new("keys", "requests");
    row.checked = again.len() as u64;
    let asked = futures::stream::iter(again).map(|sent| async move { (sent, once_more(shop, sent).await) });
    let mut answers = asked.buffer_unordered(TOGETHER);
    while let Some((sent, answer)) = answers.next().await {
        let key = &sent.order.key;
        match (answer, order_id(sent)) {
            (Ok(again), Some(first)) if again == first => {}
            (Ok(again), first) => {
                row.doubled += 1;
                row.example(
                    "doubled",
                    key,
                    format!("order {again} beside order {}", first.unwrap_or_default()),
                );
            }
            (Err(reason), _) => {
                row.waiting += 1;
                row.example("waiting", key, reason);
            }
        }
    }
    row
}

async fn once_more(shop: &Shop, sent: &Sent) -> Result<Uuid, String> {
    definite(async || match shop.order(&sent.order).await {
        Answer::Accepted { order_id, .. } => Ok(order_id),
        Answer::Refused(reason) | Answer::Unknown(reason) => Err(reason),
    })
    .await
}

async fn definite<T>(ask: impl AsyncFn() -> Result<T, String>) -> Result<T, String> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match ask().await {
            Err(_) if Instant::now() < deadline => sleep(PAUSE).await,
            answer => return answer,
        }
    }
}

fn order_id(sent: &Sent) -> Option<Uuid> {
    match sent.fate {
        Fate::Accepted { order_id, .. } => Some(order_id),
        Fate::Refused(_) | Fate::Unanswered(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::load::Order;

    fn sent(key: &str, fate: Fate) -> Sent {
        let order = Order { key: key.to_owned(), body: Value::Null };
        Sent { order, fate, attempts: 1, latency: Duration::ZERO }
    }

    fn stands(id: u128) -> Fate {
        Fate::Accepted { order_id: Uuid::from_u128(id), replayed: false }
    }

    #[test]
    fn accepted_orders_with_an_id_each_are_no_finding() {
        let sent = [sent("a", stands(1)), sent("b", stands(2))];
        let row = answers(&sent);
        assert_eq!((row.checked, row.findings()), (2, 0));
        assert_eq!(accepted(&sent).len(), 2);
    }

    #[test]
    fn a_refusal_a_lost_outcome_and_an_order_under_two_keys_are_findings() {
        let refused = answers(&[sent("a", Fate::Refused("422".to_owned()))]);
        assert_eq!((refused.missing, refused.findings()), (1, 1));
        let unanswered = answers(&[sent("a", Fate::Unanswered("503".to_owned()))]);
        assert_eq!((unanswered.waiting, unanswered.findings()), (1, 1));
        let shared = answers(&[sent("a", stands(1)), sent("b", stands(1))]);
        assert_eq!((shared.doubled, shared.findings()), (1, 1));
    }
}
