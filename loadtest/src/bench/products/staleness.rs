//! How long a changed product is still shown as it was, while many read it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use contracts::Money;
use ops::product::{Change, change, connect, write_through};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::client::Connection;
use super::server::Server;
use super::{Extent, Settings, request};
use crate::bench::report::{Figure, Target, Unit};

/// The product that changes.
const PRODUCT: i32 = 7;
/// Who reads it all the time.
const READERS: usize = 2;
/// Its first price, in cents. Each change adds one, so a price tells which change it shows.
const FIRST: i64 = 100_000;
/// For a change to show.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between a change that was seen and the next one: so that the product is in memory again.
const PAUSE: Duration = Duration::from_millis(20);
const TTL: Duration = Duration::from_secs(300);

/// What readers have seen so far.
#[derive(Debug, Default)]
struct Seen {
    /// The newest price, in cents.
    price: AtomicI64,
    stop: AtomicBool,
    news: tokio::sync::Notify,
}

/// Changes the product as `ops product set` does, over and over.
pub(super) async fn measure(
    server: &Server,
    settings: &Settings,
    extent: Extent,
) -> anyhow::Result<Vec<Figure>> {
    let pool = persistence::pool::connect_lazy(&settings.orders.orders_database_url, 1, "bench")?;
    let mut redis = connect(&settings.redis_url).await?;
    let seen = Arc::new(Seen::default());
    let mut readers = JoinSet::new();
    for _ in 0..READERS {
        let connection = Connection::open(server.shop).await?;
        let asked = request(server.shop, &format!("/api/product/{PRODUCT}"));
        readers.spawn(read(connection, asked, seen.clone()));
    }
    let mut millis = Vec::new();
    for price in (FIRST..).take(usize::try_from(extent.changes)?) {
        let new = Change { price: Money::from_cents(price).ok(), ..Change::default() };
        let changed = change(&pool, PRODUCT, &new).await?;
        write_through(&mut redis, &changed, TTL).await?;
        let written = Instant::now();
        let shown = async {
            loop {
                let news = seen.news.notified();
                if seen.price.load(Ordering::Acquire) >= price {
                    break;
                }
                news.await;
            }
        };
        tokio::select! {
            shown = timeout(PATIENCE, shown) => shown.with_context(|| format!("a change does not show after {PATIENCE:?}"))?,
            Some(ended) = readers.join_next() => ended?.and_then(|()| bail!("a reader ended"))?,
        }
        millis.push(written.elapsed().as_secs_f64() * 1e3);
        tokio::time::sleep(PAUSE).await;
    }
    seen.stop.store(true, Ordering::Release);
    while let Some(ended) = readers.join_next().await {
        ended??;
    }
    pool.close().await;
    millis.sort_by(f64::total_cmp);
    let at = |share: f64| millis[((millis.len() - 1) as f64 * share).round() as usize];
    let figure = |what, share| {
        Figure::new(
            format!("from a change to the first answer that shows it, {what}"),
            Unit::Millis,
            at(share),
        )
    };
    Ok(vec![
        figure("half of them", 0.5),
        figure("p99", 0.99),
        figure("the slowest", 1.0).target(Target::AtMost(50.0)),
    ])
}

/// Reads all the time. What was seen by anybody before a request is sent, or something newer, has to be in its answer.
async fn read(mut connection: Connection, request: Vec<u8>, seen: Arc<Seen>) -> anyhow::Result<()> {
    while !seen.stop.load(Ordering::Acquire) {
        let known = seen.price.load(Ordering::Acquire);
        let answer =
            timeout(PATIENCE, connection.ask(&request)).await.context("an answer does not come")??;
        let price = price(answer)?;
        if known >= FIRST && price < known {
            bail!("the product is shown at {price} after it was seen at {known}");
        }
        if seen.price.fetch_max(price, Ordering::AcqRel) < price {
            seen.news.notify_one();
        }
    }
    Ok(())
}

/// The price in an answer, in cents.
fn price(answer: &[u8]) -> anyhow::Result<i64> {
    let text = std::str::from_utf8(answer)?;
    let (_, rest) = text.split_once("\"price\":").with_context(|| format!("no price in {text}"))?;
    let number: f64 = rest.split([',', '}']).next().unwrap_or_default().parse()?;
    Ok((number * 100.0).round() as i64)
}
