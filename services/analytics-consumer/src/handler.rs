//! What an order adds to the figures.

use chrono::{DateTime, NaiveDate, SubsecRound, TimeDelta, Timelike, Utc};
use contracts::{Envelope, Money, MoneyError, OrderCreated};
use messaging::consumer::{Answer, Delivery, Handler};
use persistence::{errors, inbox};
use sqlx::PgPool;

use crate::store;

/// Adds an order to its minute and its products to their day, once per event.
pub struct Analytics {
    pool: PgPool,
}

/// Pieces and revenue of one product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sale {
    pub(crate) product_id: i32,
    pub(crate) quantity: i64,
    pub(crate) revenue: Money,
}

impl Analytics {
    /// Over the pool of the analytics database.
    pub fn new(pool: PgPool) -> Self {
        Self { pool }
    }

    async fn apply(&self, event: &Envelope<OrderCreated>, sales: &[Sale]) -> Result<(), sqlx::Error> {
        let mut transaction = self.pool.begin().await?;
        if inbox::first_delivery(&mut transaction, event.id, event.occurred_at).await? {
            store::add_order(&mut transaction, minute(event.occurred_at), event.data.total).await?;
            store::add_sales(&mut transaction, day(event.occurred_at), sales).await?;
        }
        transaction.commit().await
    }
}

impl Handler for Analytics {
    type Event = Envelope<OrderCreated>;

    async fn handle(&self, event: &Self::Event, _: &Delivery) -> Answer {
        let sales = match sales(&event.data) {
            Ok(sales) => sales,
            Err(error) => return Answer::Poison(format!("revenue of a line: {error}")),
        };
        match self.apply(event, &sales).await {
            Ok(()) => Answer::Ok,
            Err(error) if errors::is_fault_of_the_data(&error) => {
                Answer::Poison(format!("database: {error}"))
            }
            Err(error) => Answer::Unavailable(format!("database: {error}")),
        }
    }
}

/// The beginning of the minute in which the order was accepted, whenever it is counted.
pub(crate) fn minute(at: DateTime<Utc>) -> DateTime<Utc> {
    at.trunc_subsecs(0) - TimeDelta::seconds(i64::from(at.second()))
}

fn day(at: DateTime<Utc>) -> NaiveDate {
    at.date_naive()
}

/// One entry per product, ascending: rows are touched in this order by everybody, so that two orders never wait for each other.
fn sales(order: &OrderCreated) -> Result<Vec<Sale>, MoneyError> {
    let mut sales: Vec<Sale> = Vec::with_capacity(order.items.len());
    for line in &order.items {
        let (quantity, revenue) =
            (i64::from(line.quantity), line.unit_price.checked_mul(i64::from(line.quantity))?);
        match sales.iter_mut().find(|sale| sale.product_id == line.product_id) {
            Some(sale) => {
                sale.quantity += quantity;
                sale.revenue = sale.revenue.checked_add(revenue)?;
            }
            None => sales.push(Sale { product_id: line.product_id, quantity, revenue }),
        }
    }
    sales.sort_unstable_by_key(|sale| sale.product_id);
    Ok(sales)
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
    fn lines_are_summed_per_product_in_ascending_order() {
        let line = |product_id, quantity, cents| OrderLine {
            product_id,
            quantity,
            unit_price: Money::from_cents(cents).unwrap(),
        };
        let order = OrderCreated {
            order_id: Uuid::nil(),
            user_id: 1,
            email: String::new(),
            phone: String::new(),
            items: vec![line(9, 1, 100), line(2, 3, 50), line(9, 2, 100)],
            total: Money::from_cents(450).unwrap(),
        };
        let sale = |product_id, quantity, cents| Sale {
            product_id,
            quantity,
            revenue: Money::from_cents(cents).unwrap(),
        };
        assert_eq!(sales(&order).unwrap(), [sale(2, 3, 150), sale(9, 3, 300)]);
    }
}
