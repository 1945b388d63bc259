//! A drain while somebody keeps a snapshot, as a backup does: no vacuum can remove the rows that were settled since.

use super::{Bench, drain};
use crate::bench::progress;
use crate::bench::report::{Figure, Unit, number};

/// The rate beside that of a plain drain.
pub(super) async fn measure(bench: &mut Bench<'_>) -> anyhow::Result<Vec<Figure>> {
    let rows = bench.sizes.held;
    let plain = match bench.known.drain {
        Some(rate) => rate,
        None => {
            let drain = drain::once(bench, "plain", rows).await?;
            progress(format!("  without an open transaction: {}/s", number(drain.rate)));
            drain.relay.stop().await?;
            bench.outbox.clear().await?;
            drain.rate
        }
    };
    let topic = bench.topics.create("held").await?;
    bench.outbox.fill(&topic, rows).await?;
    let mut holder = bench.outbox.pool().begin().await?;
    sqlx::query("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ").execute(&mut *holder).await?;
    // The first question takes the snapshot.
    sqlx::query("SELECT pg_current_snapshot()").execute(&mut *holder).await?;
    let drain = drain::run(bench, &topic, rows).await?;
    progress(format!("  with an open transaction: {}/s", number(drain.rate)));
    holder.rollback().await?;
    drain.relay.stop().await?;
    let figure = Figure::new("drain while a transaction is open", Unit::PerSecond, drain.rate)
        .against("without", plain)
        .used(&drain.spent);
    Ok(vec![figure])
}
