//! Outbox, inbox and what goes with them on a real Postgres.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod blocked;
mod deliveries;
mod group;
mod horizon;
mod inbox;
mod outbox;

use sqlx::PgPool;
use testkit::{Servers, TestDatabase};

pub(crate) async fn database(name: &str) -> (TestDatabase, PgPool) {
    let database = Servers::shared().await.database(name).await.migrated().await;
    let pool = database.pool().await;
    (database, pool)
}

/// One whose time-outs no slow machine meets.
pub(crate) async fn patient_database(name: &str) -> (TestDatabase, PgPool) {
    let database = Servers::shared().await.database(name).await.migrated().await;
    database.lift_time_outs().await;
    let pool = database.pool().await;
    (database, pool)
}

#[test]
fn every_consumer_has_the_same_inbox() {
    let script = |database: &str, file: &str| {
        let file = testkit::workspace_root().join(format!("migrations/{database}/{file}.sql"));
        std::fs::read_to_string(file).unwrap()
    };
    for file in ["0001_inbox", "0003_horizon"] {
        for database in ["sms", "inventory", "analytics"] {
            assert_eq!(script(database, file), script("email", file), "migrations/{database}/{file}.sql");
        }
    }
}

#[test]
fn both_consumers_that_have_a_provider_note_their_deliveries_alike() {
    let statements = |database: &str| {
        let file = testkit::workspace_root().join(format!("migrations/{database}/0002_deliveries.sql"));
        let text = std::fs::read_to_string(file).unwrap();
        text.lines().filter(|line| !line.trim_start().starts_with("--")).collect::<Vec<_>>().join("\n")
    };
    assert_eq!(statements("sms"), statements("email"));
}

#[tokio::test]
async fn no_service_can_connect_to_the_database_of_another() {
    let (database, _pool) = database("email").await;
    let (_, rest) = database.url().split_once('@').unwrap();
    let stranger = format!("postgres://sms:sms@{rest}");
    let pool = persistence::pool::connect_lazy(&stranger, 1, "test").unwrap();
    let error = persistence::pool::ping(&pool).await.unwrap_err();
    assert!(error.to_string().contains("permission denied"), "{error}");
}
