//! `ops outbox`.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use persistence::outbox;
use sqlx::PgPool;
use uuid::Uuid;

use crate::config::{Outbox, OutboxCommand};
use crate::time;

/// The database answers at once or is away.
const PATIENCE: Duration = Duration::from_secs(15);

pub(crate) async fn run(config: &Outbox) -> anyhow::Result<()> {
    let pool = persistence::pool::connect_lazy(&config.orders_database_url, 1, "ops")?;
    tokio::time::timeout(PATIENCE, execute(&pool, &config.command))
        .await
        .context("the database does not answer")?
}

async fn execute(pool: &PgPool, command: &OutboxCommand) -> anyhow::Result<()> {
    match command {
        OutboxCommand::Blocked { limit } => list(pool, i64::from(*limit)).await,
        OutboxCommand::Show { key } => show(pool, *key).await,
        OutboxCommand::Skip { key, why, by } => {
            ensure!(!why.trim().is_empty() && !by.trim().is_empty(), "--why and --by must say something");
            let event = outbox::skip(pool, *key, by, why).await.with_context(|| format!("key {key}"))?;
            println!(
                "{key}: event {event} is left out, recorded in outbox_skipped; the events after it follow"
            );
            Ok(())
        }
        OutboxCommand::Repair { key, payload } => repair(pool, *key, payload).await,
        OutboxCommand::Retry { key } => {
            outbox::release_key(pool, *key).await.with_context(|| format!("key {key}"))?;
            println!("{key}: released, the relay tries its event again");
            Ok(())
        }
    }
}

async fn list(pool: &PgPool, limit: i64) -> anyhow::Result<()> {
    let keys = outbox::list_blocked(pool, limit).await?;
    if keys.is_empty() {
        println!("no key is blocked");
        return Ok(());
    }
    println!("{:<36}  {:<20}  {:>9}  {:>6}  REASON", "KEY", "BLOCKED AT", "AGE", "EVENTS");
    for key in keys {
        let age = time::age(key.blocked_at);
        println!("{}  {}  {age:>9}  {:>6}  {}", key.key, time::show(key.blocked_at), key.rows, key.reason);
    }
    Ok(())
}

async fn show(pool: &PgPool, key: Uuid) -> anyhow::Result<()> {
    let Some(row) = outbox::show(pool, key).await? else { bail!("key {key}: this key is not blocked") };
    println!("key         {key}");
    println!("blocked at  {} ({})", time::show(row.blocked_at), time::age(row.blocked_at));
    println!("reason      {}", row.reason);
    println!("topic       {}", row.topic);
    println!("event       {} {}, number {}", row.event_type, row.event_id, row.sequence);
    println!("created at  {}", time::show(row.created_at));
    println!("payload     {}", row.payload);
    Ok(())
}

async fn repair(pool: &PgPool, key: Uuid, file: &Path) -> anyhow::Result<()> {
    let payload = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let Some(row) = outbox::show(pool, key).await? else { bail!("key {key}: this key is not blocked") };
    check(&payload, row.event_id).with_context(|| file.display().to_string())?;
    outbox::repair(pool, key, payload.trim()).await.with_context(|| format!("key {key}"))?;
    println!("{key}: event {} has a new payload, the relay tries it again", row.event_id);
    Ok(())
}

/// Whoever gets the event a second time must be able to tell: by the id in the payload as by that of the row.
fn check(payload: &str, event_id: Uuid) -> anyhow::Result<()> {
    let payload: serde_json::Value = serde_json::from_str(payload).context("this is not JSON")?;
    let id = payload.get("id").and_then(|id| id.as_str()).context("`id`, the event's id, is missing")?;
    ensure!(id.parse() == Ok(event_id), "`id` is {id}, but the refused event is {event_id}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_payload_must_be_json_and_carry_the_id_of_the_refused_event() {
        let id = Uuid::from_u128(7);
        assert!(check(&format!(r#"{{"id":"{id}","a":1}}"#), id).is_ok());
        for (payload, complaint) in [
            ("{", "not JSON"),
            ("{}", "missing"),
            (r#"{"id":"x"}"#, "the refused event is"),
            ("[1]", "missing"),
        ] {
            let error = format!("{:#}", check(payload, id).unwrap_err());
            assert!(error.contains(complaint), "{payload}: {error}");
        }
    }
}
