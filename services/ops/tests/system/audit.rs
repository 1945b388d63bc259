//! The audit: every accepted order against every effect, over the whole life of the system.

use std::time::Duration;

use contracts::event_id;
use serde_json::Value;
use sqlx::{Connection, PgConnection, Row};
use testkit::{TestDatabase, eventually};
use uuid::Uuid;

use crate::system::{PROVIDERS, System};
use crate::topics::{self, GROUPS};

/// The same numbers, counted at the source or at an effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Totals {
    orders: i64,
    revenue_cents: i64,
}

/// What every stage counts at one moment.
#[derive(Debug)]
struct Books {
    accepted: Totals,
    unpublished: i64,
    analytics: Totals,
    /// Events in the inbox of each consumer.
    inboxes: [(&'static str, i64); 4],
    /// Messages that a provider has delivered, and those that the consumer has noted as delivered.
    delivered: [(&'static str, i64, i64); 2],
    ordered_lines: i64,
    reserved_lines: i64,
    ordered_pieces: i64,
    sold_pieces: i64,
    /// Products whose stock is not what was delivered minus what was reserved.
    wrong_stock: i64,
}

impl Books {
    /// What does not balance; empty when everything ordered has had every effect, once.
    fn differences(&self) -> Vec<String> {
        let mut differences = Vec::new();
        let mut equal = |what: &str, found: i64, expected: i64| {
            if found != expected {
                differences.push(format!("{what}: {found} instead of {expected}"));
            }
        };
        equal("rows in the outbox", self.unpublished, 0);
        for (group, events) in self.inboxes {
            equal(&format!("events in the inbox of {group}"), events, self.accepted.orders);
        }
        for (channel, delivered, noted) in self.delivered {
            equal(&format!("messages by {channel}"), delivered, self.accepted.orders);
            equal(&format!("messages noted by {channel}"), noted, self.accepted.orders);
        }
        equal("orders in analytics", self.analytics.orders, self.accepted.orders);
        equal("revenue in analytics", self.analytics.revenue_cents, self.accepted.revenue_cents);
        equal("pieces in analytics", self.sold_pieces, self.ordered_pieces);
        equal("reservation lines", self.reserved_lines, self.ordered_lines);
        equal("products with a wrong stock", self.wrong_stock, 0);
        differences
    }
}

impl System {
    /// Waits until the consumers are through with everything, then demands that the books balance exactly: an effect
    /// that is missing is a lost order, one too many is a doubled one.
    pub(crate) async fn every_order_took_effect_once(&self, deadline: Duration) {
        eventually(deadline, "every order has had its effects", async || {
            let differences = self.books().await.differences();
            if differences.is_empty() { Ok(()) } else { Err(differences.join(", ")) }
        })
        .await;
        // A repeat may still be on its way: only when nothing is left to read do the books count.
        for group in GROUPS {
            eventually(deadline, &format!("{group} is through"), async || {
                match topics::lag(self.kafka_brokers(), group).await {
                    0 => Ok(()),
                    behind => Err(format!("{behind} records behind")),
                }
            })
            .await;
        }
        assert_eq!(self.books().await.differences(), Vec::<String>::new());
    }

    /// These orders are stored, each once (the id is the primary key), and each consumer has applied each of them.
    pub(crate) async fn were_accepted_and_applied(&self, orders: &[Uuid]) {
        let events: Vec<Uuid> = orders.iter().map(|order| event_id(*order, 1)).collect();
        let databases = &self.databases;
        let stored = count(&databases.orders, "SELECT count(*) FROM orders WHERE id = ANY($1)", orders).await;
        assert_eq!(stored, orders.len() as i64, "accepted orders that are not in the database");
        for (name, database) in self.inboxes() {
            let applied =
                count(database, "SELECT count(*) FROM inbox WHERE event_id = ANY($1)", &events).await;
            assert_eq!(applied, orders.len() as i64, "events that {name} has not applied");
        }
    }

    fn inboxes(&self) -> [(&'static str, &TestDatabase); 4] {
        let databases = &self.databases;
        [
            ("email", &databases.email),
            ("sms", &databases.sms),
            ("inventory", &databases.inventory),
            ("analytics", &databases.analytics),
        ]
    }

    async fn books(&self) -> Books {
        let databases = &self.databases;
        let [orders, revenue_cents, unpublished, ordered_lines, ordered_pieces] = numbers(
            &databases.orders,
            "SELECT (SELECT count(*) FROM orders),
                    (SELECT coalesce(sum(total_cents), 0)::bigint FROM orders),
                    (SELECT count(*) FROM outbox),
                    (SELECT count(*) FROM order_items),
                    (SELECT coalesce(sum(quantity), 0)::bigint FROM order_items)",
        )
        .await;
        let [counted_orders, counted_revenue_cents, sold_pieces] = numbers(
            &databases.analytics,
            "SELECT (SELECT coalesce(sum(orders), 0)::bigint FROM orders_per_minute),
                    (SELECT coalesce(sum(revenue_cents), 0)::bigint FROM orders_per_minute),
                    (SELECT coalesce(sum(quantity), 0)::bigint FROM product_sales)",
        )
        .await;
        let [reserved_lines, wrong_stock] = numbers(
            &databases.inventory,
            "SELECT (SELECT count(*) FROM reservations),
                    (SELECT count(*) FROM stock s
                      WHERE on_hand <> (SELECT coalesce(sum(delta), 0) FROM stock_movements m
                                         WHERE m.product_id = s.product_id)
                                     - (SELECT coalesce(sum(quantity), 0) FROM reservations r
                                         WHERE r.product_id = s.product_id AND outcome = 'reserved'))",
        )
        .await;
        let deliveries = self.get(PROVIDERS, "/api/deliveries").await;
        let (mut inboxes, mut delivered) = ([("", 0); 4], [("", 0, 0); 2]);
        for (slot, (name, database)) in inboxes.iter_mut().zip(self.inboxes()) {
            *slot = (name, number(database, "SELECT count(*) FROM inbox").await);
        }
        for (slot, (name, database)) in delivered.iter_mut().zip(self.inboxes()) {
            let noted = number(database, "SELECT count(*) FROM deliveries").await;
            *slot = (name, distinct(&deliveries, name), noted);
        }
        Books {
            accepted: Totals { orders, revenue_cents },
            unpublished,
            analytics: Totals { orders: counted_orders, revenue_cents: counted_revenue_cents },
            inboxes,
            delivered,
            ordered_lines,
            reserved_lines,
            ordered_pieces,
            sold_pieces,
            wrong_stock,
        }
    }
}

/// How many different messages the provider has delivered.
pub(crate) fn distinct(deliveries: &Value, channel: &str) -> i64 {
    deliveries[channel]["distinct"]
        .as_i64()
        .unwrap_or_else(|| panic!("no {channel}.distinct in {deliveries}"))
}

async fn connect(database: &TestDatabase) -> PgConnection {
    PgConnection::connect(database.url()).await.expect("the database answers")
}

/// The one number that a query answers.
pub(crate) async fn number(database: &TestDatabase, query: &'static str) -> i64 {
    let [number] = numbers(database, query).await;
    number
}

/// The numbers in the one row that a query answers.
async fn numbers<const N: usize>(database: &TestDatabase, query: &'static str) -> [i64; N] {
    let row = sqlx::query(query).fetch_one(&mut connect(database).await).await.expect(query);
    std::array::from_fn(|column| row.get(column))
}

async fn count(database: &TestDatabase, query: &'static str, ids: &[Uuid]) -> i64 {
    sqlx::query_scalar(query).bind(ids).fetch_one(&mut connect(database).await).await.expect(query)
}
