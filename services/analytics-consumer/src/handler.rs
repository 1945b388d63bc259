//! What orders add to the figures.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, SubsecRound, TimeDelta, Timelike, Utc};
use contracts::{Envelope, Money, MoneyError, OrderCreated};
use messaging::consumer::{Answer, BatchHandler, Delivered};
use persistence::inbox::{self, Arrival, BeyondHorizon};
use persistence::{errors, sql};
use sqlx::PgPool;
use telemetry::metrics::{Counter, Metrics};

use crate::store;

/// Adds orders to their minutes and their products to their days, once per event; a batch of them in one transaction.
pub struct Analytics {
    pool: PgPool,
    /// Orders that were added up.
    orders: Counter,
}

/// Orders and revenue of one minute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Minute {
    pub(crate) orders: i64,
    pub(crate) revenue: Money,
}

/// Pieces and revenue of one product on one day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sale {
    pub(crate) quantity: i64,
    pub(crate) revenue: Money,
}

/// What a batch adds, ascending: rows are touched in this order by everybody, so that two batches never wait for each other.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Sums {
    pub(crate) minutes: BTreeMap<DateTime<Utc>, Minute>,
    pub(crate) sales: BTreeMap<(NaiveDate, i32), Sale>,
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("database: {0}")]
    Database(#[from] sqlx::Error),
    #[error("revenue: {0}")]
    Sum(#[from] MoneyError),
    #[error("{0}")]
    BeyondHorizon(BeyondHorizon),
}

impl Analytics {
    /// Over the pool of the analytics database.
    pub fn new(pool: PgPool) -> Self {
        Self { pool, orders: Counter::default() }
    }

    /// Shows what it counts.
    pub fn register(&self, metrics: &Metrics) {
        metrics.register("analytics_orders", "Orders that were added to the figures", self.orders.clone());
    }

    async fn apply(&self, batch: &[Delivered<Envelope<OrderCreated>>]) -> Result<(), Failure> {
        let events: Vec<_> = batch.iter().map(known).collect();
        let mut transaction = sql::begin(&self.pool).await?;
        let arrivals = inbox::first_deliveries(&mut transaction, &events).await?;
        if let Some(beyond) = Arrival::beyond_horizon(&arrivals) {
            return Err(Failure::BeyondHorizon(beyond));
        }
        batch.iter().zip(&arrivals).filter(|(_, arrival)| **arrival == Arrival::Repeat).for_each(
            |(one, _)| {
                one.delivery.repeated();
            },
        );
        let mut sums = Sums::default();
        for (one, _) in batch.iter().zip(arrivals).filter(|(_, arrival)| *arrival == Arrival::First) {
            sums.add(one.event.occurred_at, &one.event.data)?;
        }
        if !sums.minutes.is_empty() {
            store::add_orders(&mut transaction, &sums.minutes).await?;
            store::add_sales(&mut transaction, &sums.sales).await?;
        }
        sql::commit(transaction).await?;
        let orders: i64 = sums.minutes.values().map(|minute| minute.orders).sum();
        self.orders.inc_by(u64::try_from(orders).unwrap_or_default());
        Ok(())
    }
}

/// What the inbox has to know.
fn known(one: &Delivered<Envelope<OrderCreated>>) -> inbox::Event {
    let (id, occurred_at) = (one.event.id, one.event.occurred_at);
    inbox::Event { id, occurred_at, beyond_horizon: one.delivery.beyond_horizon }
}

impl BatchHandler for Analytics {
    type Event = Envelope<OrderCreated>;

    async fn handle_batch(&self, batch: &[Delivered<Self::Event>]) -> Answer {
        match self.apply(batch).await {
            Ok(()) => Answer::Ok,
            // Of one order: it is found by splitting.
            Err(failure @ (Failure::Sum(_) | Failure::BeyondHorizon(_))) => {
                Answer::Poison(failure.to_string())
            }
            Err(Failure::Database(error)) if errors::is_fault_of_the_data(&error) => {
                Answer::Poison(format!("database: {error}"))
            }
            Err(failure) => Answer::Unavailable(failure.to_string()),
        }
    }
}

impl Sums {
    fn add(&mut self, at: DateTime<Utc>, order: &OrderCreated) -> Result<(), MoneyError> {
        let minute = self.minutes.entry(minute(at)).or_default();
        minute.orders += 1;
        minute.revenue = minute.revenue.checked_add(order.total)?;
        for line in &order.items {
            let quantity = i64::from(line.quantity);
            let sale = self.sales.entry((day(at), line.product_id)).or_default();
            sale.quantity += quantity;
            sale.revenue = sale.revenue.checked_add(line.unit_price.checked_mul(quantity)?)?;
        }
        Ok(())
    }
}

/// The beginning of the minute in which the order was accepted, whenever it is counted.
pub(crate) fn minute(at: DateTime<Utc>) -> DateTime<Utc> {
    at.trunc_subsecs(0) - TimeDelta::seconds(i64::from(at.second()))
}

fn day(at: DateTime<Utc>) -> NaiveDate {
    at.date_naive()
}

#[cfg(test)]
mod tests {
    use contracts::OrderLine;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn an_order_counts_in_the_minute_and_on_the_day_it_was_accepted() {
        let at: DateTime<Utc> = "2026-01-02T23:59:59.999Z".parse().unwrap();
        assert_eq!(minute(at).to_rfc3339(), "2026-01-02T23:59:00+00:00");
        assert_eq!(day(at).to_string(), "2026-01-02");
    }

    #[test]
    fn orders_add_up_per_minute_and_lines_per_product_and_day() {
        let money = |cents| Money::from_cents(cents).unwrap();
        let line = |product_id, quantity, cents| OrderLine { product_id, quantity, unit_price: money(cents) };
        let order = |items, cents| OrderCreated {
            order_id: Uuid::nil(),
            user_id: 1,
            email: String::new(),
            phone: String::new(),
            items,
            total: money(cents),
        };
        let at = |time: &str| time.parse::<DateTime<Utc>>().unwrap();
        let mut sums = Sums::default();
        sums.add(
            at("2026-01-02T23:59:10Z"),
            &order(vec![line(9, 1, 100), line(2, 3, 50), line(9, 2, 100)], 450),
        )
        .unwrap();
        sums.add(at("2026-01-02T23:59:50Z"), &order(vec![line(2, 1, 50)], 50)).unwrap();
        sums.add(at("2026-01-03T00:00:00Z"), &order(vec![line(2, 1, 50)], 50)).unwrap();

        let minutes: Vec<_> =
            sums.minutes.into_values().map(|minute| (minute.orders, minute.revenue)).collect();
        assert_eq!(minutes, [(2, money(500)), (1, money(50))]);
        let sales: Vec<_> = sums
            .sales
            .into_iter()
            .map(|((day, product), sale)| (day.to_string(), product, sale.quantity, sale.revenue))
            .collect();
        let (friday, saturday) = ("2026-01-02".to_owned(), "2026-01-03".to_owned());
        let expected =
            [(friday.clone(), 2, 4, money(200)), (friday, 9, 3, money(300)), (saturday, 2, 1, money(50))];
        assert_eq!(sales, expected);
    }
}
