//! From an order to its trace.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use uuid::Uuid;

/// The database answers at once or is away.
const PATIENCE: Duration = Duration::from_secs(10);

/// What an operator names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// An order.
    Order(Uuid),
    /// A trace: 32 lower-case hex digits.
    Trace(String),
}

impl FromStr for Subject {
    type Err = &'static str;

    /// An order id has hyphens, a trace id has none.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(trace) = trace_id(text) {
            return Ok(Self::Trace(trace));
        }
        let order = (text.len() == 36).then(|| text.parse().ok()).flatten();
        order
            .map(Self::Order)
            .ok_or("expected an order id (a UUID with hyphens) or a trace id (32 hex digits, not all 0)")
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Order(order) => write!(f, "order {order}"),
            Self::Trace(trace) => write!(f, "trace {trace}"),
        }
    }
}

/// A trace id as W3C Trace Context has it.
fn trace_id(text: &str) -> Option<String> {
    let hex = text.len() == 32 && text.bytes().all(|digit| digit.is_ascii_hexdigit());
    (hex && text.bytes().any(|digit| digit != b'0')).then(|| text.to_ascii_lowercase())
}

/// The trace that the subject is about. Orders are looked up where they were written, so order-api may be away.
pub(super) async fn trace_of(subject: &Subject, orders_database_url: &str) -> anyhow::Result<String> {
    let order = match subject {
        Subject::Trace(trace) => return Ok(trace.clone()),
        Subject::Order(order) => *order,
    };
    let pool = persistence::pool::connect_lazy(orders_database_url, 1, "ops")?;
    let row =
        sqlx::query_scalar::<_, Option<String>>("SELECT trace_id FROM orders WHERE id = $1").bind(order);
    let row = tokio::time::timeout(PATIENCE, row.fetch_optional(&pool)).await;
    let row =
        row.context("the orders database does not answer")?.context("cannot read the orders database")?;
    let Some(trace) = row else { bail!("order {order} is unknown: no order with this id was accepted here") };
    let Some(trace) = trace else {
        bail!("order {order} has no trace: it was accepted while order-api recorded none")
    };
    let valid = trace_id(&trace);
    ensure!(valid.is_some(), "order {order} has no usable trace id, but {trace:?}");
    Ok(valid.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_an_order_or_a_trace_and_nothing_else() {
        let order = "0192f1de-7c1b-7000-8000-0123456789ab";
        assert_eq!(order.parse(), Ok(Subject::Order(order.parse().unwrap())));
        let trace = "4BF92F3577B34DA6A3CE929D0E0E4736";
        assert_eq!(trace.parse(), Ok(Subject::Trace(trace.to_lowercase())));
        let zeros = "0".repeat(32);
        for wrong in ["", "17", "0192f1de-7c1b-7000-8000", zeros.as_str(), &trace[1..], "../api/services"] {
            assert!(wrong.parse::<Subject>().unwrap_err().starts_with("expected an order id"), "{wrong}");
        }
    }
}
