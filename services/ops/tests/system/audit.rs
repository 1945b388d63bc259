//! The audit: every accepted order against every effect, over the whole life of the system.

use std::time::Duration;

use contracts::event_id;
use contracts::topics::ORDER_EVENTS;
use messaging::KafkaSettings;
use ops::audit::{AuditDatabases, AuditSettings, Provider, Report, audit};
use serde_json::Value;
use sqlx::{Connection, PgConnection};
use testkit::{PATIENCE, TestDatabase};
use uuid::Uuid;

use crate::system::{PROVIDERS, System};

impl System {
    /// Waits until the consumers are through with everything, then demands that the books balance exactly: an effect
    /// that is missing is a lost order, one too many is a doubled one.
    pub(crate) async fn every_order_took_effect_once(&self) {
        let report = self.audit(PATIENCE).await;
        assert!(report.clean, "{report}");
        assert!(report.stages.iter().all(|stage| stage.waiting == 0), "{report}");
    }

    /// What `ops audit` says.
    pub(crate) async fn audit(&self, wait: Duration) -> Report {
        let databases = &self.databases;
        let settings = AuditSettings {
            since: None,
            until: None,
            wait,
            examples: 10,
            json: false,
            topic: ORDER_EVENTS.to_owned(),
            provider: Provider::Simulator(self.service(PROVIDERS).url("")),
            kafka: KafkaSettings { brokers: self.kafka_brokers().to_owned() },
            databases: AuditDatabases {
                audit_orders_database_url: databases.orders.auditor_url(),
                audit_email_database_url: databases.email.auditor_url(),
                audit_sms_database_url: databases.sms.auditor_url(),
                audit_inventory_database_url: databases.inventory.auditor_url(),
                audit_analytics_database_url: databases.analytics.auditor_url(),
            },
        };
        audit(&settings).await.expect("everything can be read")
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

    pub(crate) fn inboxes(&self) -> [(&'static str, &TestDatabase); 4] {
        let databases = &self.databases;
        [
            ("email", &databases.email),
            ("sms", &databases.sms),
            ("inventory", &databases.inventory),
            ("analytics", &databases.analytics),
        ]
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
    sqlx::query_scalar(query).fetch_one(&mut connect(database).await).await.expect(query)
}

/// Changes a database behind its service's back.
pub(crate) async fn execute(database: &TestDatabase, statement: &'static str) {
    sqlx::raw_sql(statement).execute(&mut connect(database).await).await.expect(statement);
}

async fn count(database: &TestDatabase, query: &'static str, ids: &[Uuid]) -> i64 {
    sqlx::query_scalar(query).bind(ids).fetch_one(&mut connect(database).await).await.expect(query)
}
