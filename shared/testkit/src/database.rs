//! Fresh databases with the roles that the services really have.

use std::time::Duration;

use anyhow::{Context, Result};
use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};
use uuid::Uuid;

use crate::{PATIENCE, required};

/// Roles are the server's, not a database's: one creator at a time, or Postgres answers "tuple concurrently updated".
const ROLES_LOCK: i64 = 0x6f72_6465_7266_6c77;

/// The role that reads every service's database.
const AUDITOR: &str = "auditor";

/// A database of its own for one test, owned by the service's role, dropped soon after this value.
///
/// The service under test meets what it meets in production: no superuser, its role's time-outs, and no way into
/// anybody else's database.
#[derive(Debug)]
pub struct TestDatabase {
    url: String,
    name: String,
    role: String,
    admin_url: String,
}

impl TestDatabase {
    pub(crate) async fn create(admin_url: &str, role: &str) -> Result<Self> {
        let name = format!("{role}_{}", Uuid::new_v4().simple());
        let mut admin = connect(admin_url).await?;
        let known: Option<i32> = sqlx::query_scalar("SELECT 1 FROM pg_roles WHERE rolname = $1")
            .bind(role)
            .fetch_optional(&mut admin)
            .await?;
        known.with_context(|| format!("deploy/postgres/databases.sql creates no role {role:?}"))?;
        // template0: unlike template1, nobody can be connected to it, which would refuse the copy.
        for statement in [
            format!(r#"CREATE DATABASE "{name}" OWNER "{role}" TEMPLATE template0"#),
            format!(r#"REVOKE CONNECT ON DATABASE "{name}" FROM PUBLIC"#),
            format!(r#"GRANT CONNECT ON DATABASE "{name}" TO {AUDITOR}"#),
        ] {
            sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut admin).await?;
        }
        admin.close().await?;

        let address: PgConnectOptions = admin_url.parse()?;
        let url = format!("postgres://{role}:{role}@{}:{}/{name}", address.get_host(), address.get_port());
        Ok(Self { url, name, role: role.to_owned(), admin_url: admin_url.to_owned() })
    }

    /// Applies `migrations/<role>`, for tests of code that expects its tables; a service applies them itself.
    pub async fn migrated(self) -> Self {
        let folder = crate::workspace_root().join("migrations").join(&self.role);
        let run = async {
            let migrator = Migrator::new(folder.as_path()).await?;
            let mut connection = connect(&self.url).await?;
            migrator.run(&mut connection).await?;
            anyhow::Ok(connection.close().await?)
        };
        required(run.await.with_context(|| format!("cannot apply {}", folder.display())));
        self
    }

    /// Lifts the time-outs of the role in this database, for tests that make transactions wait for each other, which on a busy machine may take longer than
    /// in production. For sessions that begin from now on.
    pub async fn lift_time_outs(&self) {
        let run = async {
            let mut admin = connect(&self.admin_url).await?;
            for limit in ["lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout"] {
                let statement =
                    format!(r#"ALTER ROLE "{}" IN DATABASE "{}" SET {limit} = 0"#, self.role, self.name);
                sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut admin).await?;
            }
            anyhow::Ok(admin.close().await?)
        };
        required(run.await.with_context(|| format!("cannot lift the time-outs of {}", self.name)));
    }

    /// The URL that the service gets: its role and its password.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The URL that the audit gets: the role that reads every database and writes none.
    pub fn auditor_url(&self) -> String {
        self.url.replacen(&format!("//{0}:{0}@", self.role), &format!("//{AUDITOR}:{AUDITOR}@"), 1)
    }

    /// A small pool under the service's role, for looking into the database.
    pub async fn pool(&self) -> PgPool {
        let pool = PgPoolOptions::new().max_connections(4).acquire_timeout(PATIENCE);
        required(pool.connect(&self.url).await.with_context(|| format!("cannot connect to {}", self.name)))
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let statement = format!(r#"DROP DATABASE IF EXISTS "{}" WITH (FORCE)"#, self.name);
        let admin_url = self.admin_url.clone();
        // Drop cannot await, so a thread does it, and nobody waits for it: DROP DATABASE waits for every session of the
        // server to take note, one in the middle of its login does so only when that login is over, and the login may
        // be of a client on the very runtime that runs this. What is not dropped in time goes with its server.
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let mut admin = connect(&admin_url).await?;
                sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut admin).await?;
                anyhow::Ok(())
            })
        });
    }
}

/// Answers once Postgres runs queries.
pub(crate) async fn select_1(admin_url: &str) -> Result<()> {
    let mut connection = connect(admin_url).await?;
    sqlx::raw_sql("SELECT 1").execute(&mut connection).await?;
    Ok(connection.close().await?)
}

/// Creates what `deploy/postgres/databases.sql` names, unless it is there already.
pub(crate) async fn create_roles(admin_url: &str) -> Result<()> {
    let file = crate::workspace_root().join("deploy/postgres/databases.sql");
    let script = std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let mut admin = connect(admin_url).await?;
    sqlx::query("SELECT pg_advisory_lock($1)").bind(ROLES_LOCK).execute(&mut admin).await?;
    for statement in statements(&script) {
        // One by one: several in one message are one transaction, and CREATE DATABASE takes part in none.
        match sqlx::raw_sql(AssertSqlSafe(statement.clone())).execute(&mut admin).await {
            Ok(_) => {}
            Err(sqlx::Error::Database(error)) if exists_already(error.code().as_deref()) => {}
            Err(error) => return Err(error).with_context(|| format!("{}: {statement}", file.display())),
        }
    }
    // Closing the session gives the lock back.
    Ok(admin.close().await?)
}

async fn connect(url: &str) -> Result<PgConnection> {
    tokio::time::timeout(Duration::from_secs(30), PgConnection::connect(url))
        .await
        .context("Postgres does not answer")?
        .context("cannot connect to Postgres")
}

/// `duplicate_object` (roles) and `duplicate_database`.
fn exists_already(code: Option<&str>) -> bool {
    matches!(code, Some("42710" | "42P04"))
}

/// The statements of a plain script: no semicolon inside a literal, no dollar quotes, comments on lines of their own.
fn statements(script: &str) -> Vec<String> {
    let code: Vec<&str> = script.lines().filter(|line| !line.trim_start().starts_with("--")).collect();
    code.join("\n")
        .split(';')
        .map(|statement| statement.trim().to_owned())
        .filter(|s| !s.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_split_into_its_statements_without_comments() {
        let script = "-- roles; all of them\nCREATE ROLE a\n  LOGIN;\n\nCREATE DATABASE a;\n-- end\n";
        assert_eq!(statements(script), ["CREATE ROLE a\n  LOGIN", "CREATE DATABASE a"]);
    }
}
