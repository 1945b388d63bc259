//! Tables of the bench, in a schema of its own: the inbox as every consumer has it, and one row for each order.

use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, ensure};
use contracts::{Envelope, OrderCreated};
use persistence::inbox::{self, Arrival};
use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use uuid::Uuid;

/// One for the handler, one for whoever looks.
const CONNECTIONS: u32 = 2;
const ACQUIRE: Duration = Duration::from_secs(10);
/// The tables of the analytics consumer.
const INBOX: &str = include_str!("../../../../../migrations/analytics/0001_inbox.sql");
const HORIZON: &str = include_str!("../../../../../migrations/analytics/0003_horizon.sql");

#[derive(Clone)]
pub(super) struct Store(PgPool);

impl Store {
    /// Makes the schema anew.
    pub(super) async fn create(url: &str) -> anyhow::Result<Self> {
        let settings = [("search_path", "bench_consumer"), ("statement_timeout", "60s")];
        let options = PgConnectOptions::from_str(url)?.application_name("bench").options(settings);
        let pool = PgPoolOptions::new()
            .max_connections(CONNECTIONS)
            .acquire_timeout(ACQUIRE)
            .connect_with(options)
            .await
            .context("the database cannot be reached")?;
        let schema = "DROP SCHEMA IF EXISTS bench_consumer CASCADE; CREATE SCHEMA bench_consumer";
        let orders = "CREATE TABLE applied (order_id uuid PRIMARY KEY, cents bigint NOT NULL)";
        for statement in [schema, INBOX, HORIZON, orders] {
            sqlx::raw_sql(statement).execute(&pool).await.context("the tables cannot be made")?;
        }
        Ok(Self(pool))
    }

    /// Rows of an earlier round would make the indices of a later one deeper.
    pub(super) async fn empty(&self) -> anyhow::Result<()> {
        sqlx::raw_sql("TRUNCATE inbox, applied").execute(&self.0).await?;
        Ok(())
    }

    /// A batch, in one transaction.
    pub(super) async fn apply(&self, batch: &[&Envelope<OrderCreated>]) -> Result<(), sqlx::Error> {
        let known: Vec<_> = batch
            .iter()
            .map(|event| inbox::Event { id: event.id, occurred_at: event.occurred_at, beyond_horizon: false })
            .collect();
        let mut transaction = self.0.begin().await?;
        let arrivals = inbox::first_deliveries(&mut transaction, &known).await?;
        let first = batch.iter().zip(arrivals).filter(|(_, arrival)| *arrival == Arrival::First);
        let (orders, cents): (Vec<Uuid>, Vec<i64>) =
            first.map(|(event, _)| (event.data.order_id, event.data.total.cents())).unzip();
        sqlx::query("INSERT INTO applied (order_id, cents) SELECT * FROM unnest($1::uuid[], $2::bigint[])")
            .bind(&orders)
            .bind(&cents)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await
    }

    /// Every event is in the inbox, and its effect is there.
    pub(super) async fn check(&self, rows: usize) -> anyhow::Result<()> {
        let counts = "SELECT (SELECT count(*) FROM inbox), (SELECT count(*) FROM applied)";
        let (known, applied): (i64, i64) = sqlx::query_as(counts).fetch_one(&self.0).await?;
        let expected = i64::try_from(rows)?;
        ensure!(
            known == expected && applied == expected,
            "{known} events are known and {applied} applied, of {rows}"
        );
        Ok(())
    }

    /// Leaves the database as it was found.
    pub(super) async fn remove(self) -> anyhow::Result<()> {
        sqlx::raw_sql("DROP SCHEMA bench_consumer CASCADE").execute(&self.0).await?;
        self.0.close().await;
        Ok(())
    }
}
