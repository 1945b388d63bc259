//! What a healthy system leaves behind, made by hand, so that a test can spoil any part of it before the audit looks.

use std::time::Duration;

use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use contracts::topics::{ANALYTICS_GROUP, EMAIL_GROUP, INVENTORY_GROUP, SMS_GROUP};
use contracts::{Envelope, Money, ORDER_CREATED, OrderCreated, OrderLine, event_id};
use messaging::{KafkaSettings, OutgoingRecord};
use ops::audit::{AuditDatabases, AuditSettings, Provider, Report, audit};
use serde_json::{Value, json};
use sqlx::PgPool;
use testkit::{Process, Servers, TestDatabase, free_port, scratch_folder};
use uuid::Uuid;

use crate::kafka;

pub(crate) const ORDERS: usize = 20;
/// Pieces of each of the two products of an order, and what one costs.
const PIECES: i32 = 2;
const PRICE: i64 = 1000;

/// The copy. Databases are filled from the start; topic and provider get what is in the fields when the audit begins.
pub(crate) struct Copy {
    pub(crate) orders: Vec<Uuid>,
    /// The event topic's records, in the order in which they are published. Number `n` is of order `n`; behind them come the second
    /// events of the last two orders.
    pub(crate) events: Vec<OutgoingRecord>,
    /// The provider's journal: e-mail and text message of order 0, of order 1, ..
    pub(crate) journal: Vec<Value>,
    /// Groups that have read the topic to its end.
    pub(crate) through: Vec<&'static str>,
    pub(crate) settings: AuditSettings,
    databases: [(TestDatabase, PgPool); 5],
    provider: Option<Process>,
}

impl Copy {
    pub(crate) async fn healthy() -> Self {
        let servers = Servers::shared().await;
        let database = async |name| {
            let database = servers.database(name).await.migrated().await;
            let pool = database.pool().await;
            (database, pool)
        };
        let databases: [(TestDatabase, PgPool); 5] = tokio::join!(
            database("orders"),
            database("email"),
            database("sms"),
            database("inventory"),
            database("analytics")
        )
        .into();
        let kafka = KafkaSettings { brokers: servers.kafka_brokers().to_owned() };
        let topic = format!("audit-test-{}", Uuid::new_v4().simple());
        kafka::create(&kafka, &topic).await;
        let mut copy = Self {
            orders: Vec::new(),
            events: Vec::new(),
            journal: Vec::new(),
            through: kafka::GROUPS.to_vec(),
            settings: settings(kafka, topic, &databases),
            databases,
            provider: None,
        };
        // Whole seconds, so that no rounding moves an order over the edge of a window.
        let begin = Utc::now().duration_trunc(TimeDelta::seconds(1)).unwrap() - TimeDelta::hours(1);
        for n in 0..ORDERS {
            copy.add_order(n, begin + TimeDelta::minutes(n as i64)).await;
        }
        for n in [ORDERS - 2, ORDERS - 1] {
            copy.add_second_event(n).await;
        }
        copy
    }

    async fn add_order(&mut self, n: usize, at: DateTime<Utc>) {
        let id = Uuid::now_v7();
        let products = [1 + n as i32, 50];
        let line = |product_id| OrderLine {
            product_id,
            quantity: PIECES,
            unit_price: Money::from_cents(PRICE).unwrap(),
        };
        let total = 2 * i64::from(PIECES) * PRICE;
        let data = OrderCreated {
            order_id: id,
            user_id: 1,
            email: "user@example.com".to_owned(),
            phone: "+1234567890".to_owned(),
            items: products.map(line).to_vec(),
            total: Money::from_cents(total).unwrap(),
        };
        // The event is decided a moment before the database accepts the order, here in the minute before.
        let event = Envelope::new(ORDER_CREATED, "/tests", id, 1, at - TimeDelta::seconds(30), data);

        let [orders, email, sms, inventory, analytics] = &self.databases;
        sqlx::query("INSERT INTO orders (id, user_id, email, phone, total_cents, created_at) VALUES ($1, 1, '', '', $2, $3)")
            .bind(id).bind(total).bind(at).execute(&orders.1).await.unwrap();
        for (line_no, product) in (1..).zip(products) {
            sqlx::query("INSERT INTO order_items VALUES ($1, $2, $3, $4, $5)")
                .bind(id)
                .bind(line_no)
                .bind(product)
                .bind(PIECES)
                .bind(PRICE)
                .execute(&orders.1)
                .await
                .unwrap();
            sqlx::query(
                "WITH r AS (INSERT INTO reservations VALUES ($1, $2, $3, 'reserved', $4))
                 UPDATE stock SET on_hand = on_hand - $3 WHERE product_id = $2",
            )
            .bind(id)
            .bind(product)
            .bind(PIECES)
            .bind(at)
            .execute(&inventory.1)
            .await
            .unwrap();
            sqlx::query(
                "INSERT INTO product_sales AS s VALUES ($1, $2, $3, $4) ON CONFLICT (day, product_id) DO UPDATE
                 SET quantity = s.quantity + excluded.quantity, revenue_cents = s.revenue_cents + excluded.revenue_cents",
            )
            .bind(event.occurred_at.date_naive()).bind(product).bind(i64::from(PIECES)).bind(i64::from(PIECES) * PRICE)
            .execute(&analytics.1).await.unwrap();
        }
        sqlx::query("INSERT INTO orders_per_minute VALUES (date_trunc('minute', $1::timestamptz), 1, $2)")
            .bind(event.occurred_at)
            .bind(total)
            .execute(&analytics.1)
            .await
            .unwrap();
        for (database, channel, key) in
            [(email, "email", format!("<{}@orderflow>", event.id)), (sms, "sms", event.id.to_string())]
        {
            sqlx::query("INSERT INTO deliveries VALUES ($1, $2, $3, $4)")
                .bind(event.id)
                .bind(id)
                .bind(&key)
                .bind(at)
                .execute(&database.1)
                .await
                .unwrap();
            self.journal.push(delivery(channel, "taken", &key, &id.to_string(), at));
        }
        self.orders.push(id);
        self.events.push(record(&self.settings.topic, &event));
    }

    /// Of a type that no consumer knows.
    async fn add_second_event(&mut self, n: usize) {
        let event = Envelope::new("OrderPaid", "/tests", self.orders[n], 2, Utc::now(), json!({}));
        self.events.push(record(&self.settings.topic, &event));
        self.sql("orders", "UPDATE orders SET last_sequence = 2 WHERE id = $1", n).await;
    }

    /// Runs a statement in a service's database, with the id of order `n` as its parameter.
    pub(crate) async fn sql(&self, database: &str, statement: &'static str, n: usize) {
        let place =
            ["orders", "email", "sms", "inventory", "analytics"].iter().position(|name| *name == database);
        let (_, pool) = &self.databases[place.expect(database)];
        let done = sqlx::query(statement).bind(self.orders[n]).execute(pool).await.unwrap();
        assert_ne!(done.rows_affected(), 0, "{statement} changed nothing");
    }

    pub(crate) async fn create_in_orders(&self, table: &'static str) {
        sqlx::raw_sql(table).execute(&self.databases[0].1).await.unwrap();
    }

    /// What an operator does with a blocked event that is not to be published.
    pub(crate) async fn skip(&self, n: usize, who: &str, why: &str) {
        sqlx::query(
            "INSERT INTO outbox_skipped (event_id, topic, aggregate_id, sequence, event_type, payload, created_at, reason,
                                         skipped_by, skipped_why)
             VALUES ($1, $2, $3, 1, 'OrderCreated', '{}', now(), 'too large', $4, $5)",
        )
        .bind(event_id(self.orders[n], 1))
        .bind(&self.settings.topic)
        .bind(self.orders[n])
        .bind(who)
        .bind(why)
        .execute(&self.databases[0].1)
        .await
        .unwrap();
    }

    /// The orders database, under the role of the services.
    pub(crate) fn orders_database(&self) -> (&str, &PgPool) {
        (self.databases[0].0.url(), &self.databases[0].1)
    }

    pub(crate) fn inventory_url(&self) -> &str {
        self.databases[3].0.url()
    }

    /// Puts the first event of order `n` into the outbox instead of on the topic. The events after it move up.
    pub(crate) async fn unpublish(&mut self, n: usize) {
        let record = self.events.remove(n);
        sqlx::query(
            "INSERT INTO outbox (topic, aggregate_id, sequence, event_id, event_type, source, payload, created_at)
             VALUES ($1, $2, 1, $3, 'OrderCreated', '/tests', $4::json, now() - interval '10 minutes')",
        )
        .bind(&self.settings.topic)
        .bind(self.orders[n])
        .bind(event_id(self.orders[n], 1))
        .bind(String::from_utf8(record.payload.unwrap()).unwrap())
        .execute(&self.databases[0].1)
        .await
        .unwrap();
    }

    /// Kafka loses the first event of order `n`.
    pub(crate) fn lose(&mut self, n: usize) {
        let event = event_id(self.orders[n], 1).to_string();
        self.events.retain(|record| !String::from_utf8_lossy(payload(record)).contains(&event));
    }

    /// Takes every effect of order `n` back, as if its event had not been seen by anybody.
    pub(crate) async fn take_effects_back(&mut self, n: usize) {
        for group in kafka::GROUPS {
            self.take_effect_back(group, n).await;
        }
        let id = self.orders[n].to_string();
        self.journal.retain(|entry| entry["order_id"] != id);
    }

    async fn take_effect_back(&self, group: &str, n: usize) {
        match group {
            EMAIL_GROUP => self.sql("email", "DELETE FROM deliveries WHERE order_id = $1", n).await,
            SMS_GROUP => self.sql("sms", "DELETE FROM deliveries WHERE order_id = $1", n).await,
            INVENTORY_GROUP => self.give_reservations_back(n).await,
            ANALYTICS_GROUP => self.uncount(n).await,
            other => panic!("no group {other}"),
        }
    }

    pub(crate) async fn give_reservations_back(&self, n: usize) {
        let statement = "WITH gone AS (DELETE FROM reservations WHERE order_id = $1 RETURNING product_id, quantity)
             UPDATE stock SET on_hand = on_hand + gone.quantity FROM gone WHERE stock.product_id = gone.product_id";
        self.sql("inventory", statement, n).await;
    }

    async fn uncount(&self, n: usize) {
        let event: Envelope<Value> = serde_json::from_slice(payload(self.event_of(n))).unwrap();
        let (_, analytics) = &self.databases[4];
        sqlx::query("DELETE FROM orders_per_minute WHERE minute = date_trunc('minute', $1::timestamptz)")
            .bind(event.occurred_at)
            .execute(analytics)
            .await
            .unwrap();
        for product in [1 + n as i32, 50] {
            sqlx::query("UPDATE product_sales SET quantity = quantity - $1, revenue_cents = revenue_cents - $2 WHERE product_id = $3 AND day = $4")
                .bind(PIECES).bind(i64::from(PIECES) * PRICE).bind(product).bind(event.occurred_at.date_naive())
                .execute(analytics).await.unwrap();
        }
    }

    /// The record of the first event of order `n`.
    pub(crate) fn event_of(&self, n: usize) -> &OutgoingRecord {
        let key = self.orders[n].to_string();
        self.events.iter().find(|event| event.key.as_deref() == Some(key.as_bytes())).expect("its event")
    }

    /// Fills topic and journal, and starts the provider.
    pub(crate) async fn finish(&mut self) {
        let AuditSettings { kafka, topic, .. } = &self.settings;
        kafka::publish(kafka, std::mem::take(&mut self.events)).await;
        for group in &self.through {
            kafka::commit_the_end(kafka, topic, group).await;
        }
        let journal = scratch_folder().join(format!("{topic}.jsonl"));
        let lines: String = self.journal.iter().map(|entry| format!("{entry}\n")).collect();
        std::fs::write(&journal, lines).unwrap();
        let settings = [
            ("PROVIDER_SIM_JOURNAL", journal.display().to_string()),
            ("PROVIDER_SIM_SMTP_ADDR", format!("127.0.0.1:{}", free_port())),
        ];
        let provider =
            Process::spawn("provider-sim", &settings.each_ref().map(|(name, value)| (*name, &**value))).await;
        self.settings.provider = Provider::Simulator(provider.url(""));
        self.provider = Some(provider);
    }

    pub(crate) async fn audit(&mut self) -> Report {
        self.finish().await;
        audit(&self.settings).await.unwrap()
    }
}

fn settings(kafka: KafkaSettings, topic: String, databases: &[(TestDatabase, PgPool); 5]) -> AuditSettings {
    let [orders, email, sms, inventory, analytics] =
        databases.each_ref().map(|(database, _)| database.auditor_url());
    AuditSettings {
        since: None,
        until: None,
        // Nothing moves: what is not through at once never will be.
        wait: Duration::ZERO,
        examples: 5,
        json: false,
        topic,
        provider: Provider::NotAsked,
        kafka,
        databases: AuditDatabases {
            audit_orders_database_url: orders,
            audit_email_database_url: email,
            audit_sms_database_url: sms,
            audit_inventory_database_url: inventory,
            audit_analytics_database_url: analytics,
        },
    }
}

/// A record as the relay writes it.
pub(crate) fn record<T: serde::Serialize>(topic: &str, event: &Envelope<T>) -> OutgoingRecord {
    OutgoingRecord::new(topic, event.aggregate_id.to_string(), serde_json::to_vec(event).unwrap())
}

pub(crate) fn payload(record: &OutgoingRecord) -> &[u8] {
    record.payload.as_deref().unwrap()
}

/// An entry of the provider's journal.
pub(crate) fn delivery(channel: &str, outcome: &str, key: &str, order_id: &str, at: DateTime<Utc>) -> Value {
    json!({"at": at, "channel": channel, "outcome": outcome, "key": key, "order_id": order_id, "to": "***"})
}

/// Every cell of the report that is not zero.
pub(crate) fn cells(report: &Report) -> Vec<(&'static str, &'static str, u64)> {
    let stages = report.stages.iter().flat_map(|stage| {
        [
            (stage.stage, "missing", stage.missing),
            (stage.stage, "doubled", stage.doubled),
            (stage.stage, "out of order", stage.out_of_order),
            (stage.stage, "repeated", stage.repeated),
            (stage.stage, "waiting", stage.waiting),
            (stage.stage, "skipped", stage.skipped),
            (stage.stage, "out of sight", stage.out_of_sight),
        ]
    });
    stages.filter(|(.., count)| *count > 0).collect()
}
