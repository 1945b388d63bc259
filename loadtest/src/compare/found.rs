//! Whether every order that a client was told to stand is there, once.

use std::collections::HashSet;
use std::path::Path;

use anyhow::Context;
use sqlx::PgPool;
use uuid::Uuid;

use crate::chaos::audit;
use crate::load::journal::Ledger;

/// Ids that are asked for at a time.
const MANY: usize = 10_000;

/// What is wrong with the orders of a system, in sentences. None: all are there, once, and no other.
///
/// # Errors
/// The database does not say.
pub(super) async fn orders(name: &str, database: &PgPool, ledger: &Ledger) -> anyhow::Result<Vec<String>> {
    let different: HashSet<&Uuid> = ledger.accepted.iter().collect();
    let ids: Vec<Uuid> = different.into_iter().copied().collect();
    let mut there = 0;
    for some in ids.chunks(MANY) {
        there +=
            count(sqlx::query_scalar("SELECT count(*) FROM orders WHERE id = ANY($1)").bind(some), database)
                .await?;
    }
    let all = count(sqlx::query_scalar("SELECT count(*) FROM orders"), database).await?;
    Ok(compare(
        name,
        Counts {
            accepted: ledger.accepted.len(),
            different: ids.len(),
            there,
            all,
            in_doubt: ledger.in_doubt,
        },
    ))
}

/// Counts of orders.
#[derive(Clone, Copy, Debug)]
struct Counts {
    /// That clients were told to stand.
    accepted: usize,
    /// With different ids.
    different: usize,
    /// Of these in the database.
    there: u64,
    /// In the database.
    all: u64,
    /// Of which no client knows.
    in_doubt: u64,
}

fn compare(name: &str, counts: Counts) -> Vec<String> {
    let Counts { accepted, different, there, all, in_doubt } = counts;
    let (told, most) = (accepted as u64, different as u64 + in_doubt);
    let mut wrong = Vec::new();
    if accepted > different {
        wrong.push(format!(
            "{name}: {} of {told} orders were told to clients under an id that another one has",
            accepted - different
        ));
    }
    if there < different as u64 {
        wrong.push(format!(
            "{name}: {} of {told} accepted orders are not in the database",
            different as u64 - there
        ));
    }
    if all > most {
        wrong.push(format!("{name}: the database has {all} orders, and clients know of {most} at most"));
    }
    wrong
}

/// What `ops audit` finds, in sentences.
///
/// # Errors
/// It could not audit.
pub(super) async fn effects(ops: &Path) -> anyhow::Result<Vec<String>> {
    let audit = audit::audit(ops).await?;
    let unchecked = audit.not_checked.iter().map(|what| format!("the audit did not check {what}"));
    let found = audit.stages.iter().filter(|row| row.findings() > 0).map(|row| {
        let example = row.examples.first();
        let example = example.map(|example| format!(", for example {}: {}", example.subject, example.detail));
        format!("the audit has {} findings in {}{}", row.findings(), row.stage, example.unwrap_or_default())
    });
    Ok(unchecked.chain(found).collect())
}

type Count<'q> = sqlx::query::QueryScalar<'q, sqlx::Postgres, i64, sqlx::postgres::PgArguments>;

async fn count(query: Count<'_>, database: &PgPool) -> anyhow::Result<u64> {
    let number = query.fetch_one(database).await.context("the orders cannot be counted")?;
    Ok(u64::try_from(number)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(accepted: usize, different: usize, there: u64, all: u64, in_doubt: u64) -> usize {
        compare("it", Counts { accepted, different, there, all, in_doubt }).len()
    }

    #[test]
    fn an_order_that_is_lost_doubled_or_made_up_is_found() {
        assert_eq!(found(10, 10, 10, 10, 0), 0);
        // Lost; two clients got the same; one that nobody ordered.
        assert_eq!(found(10, 10, 9, 9, 0), 1);
        assert_eq!(found(10, 9, 9, 9, 0), 1);
        assert_eq!(found(10, 10, 10, 11, 0), 1);
    }

    #[test]
    fn an_order_in_doubt_may_be_there_or_not() {
        assert_eq!(found(10, 10, 10, 10, 1), 0);
        assert_eq!(found(10, 10, 10, 11, 1), 0);
        assert_eq!(found(10, 10, 10, 12, 1), 1);
    }
}
