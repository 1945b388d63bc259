//! How fast products are read from the warm cache, and how fast nothing is read.

use std::net::SocketAddr;

use anyhow::{Context, bail};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::client::Connection;
use super::server::{ANSWER, EMPTY, Server};
use super::{Extent, ask, request};
use crate::bench::progress;
use crate::bench::relay::numbers::median;
use crate::bench::report::{Figure, Spent, Target, Unit};
use crate::usage::Watched;

/// All products of the catalogue.
const PRODUCTS: std::ops::RangeInclusive<i32> = 1..=100;

/// One of the two.
struct Side {
    name: &'static str,
    address: SocketAddr,
    requests: Vec<Vec<u8>>,
    rates: Vec<f64>,
    spent: Spent,
}

pub(super) async fn measure(server: &Server, redis: i32, extent: Extent) -> anyhow::Result<Vec<Figure>> {
    same_answers(server).await?;
    let side =
        |name, address, requests| Side { name, address, requests, rates: vec![], spent: Spent::default() };
    let products = PRODUCTS.map(|id| request(server.shop, &format!("/api/product/{id}"))).collect();
    let mut products = side("products", server.shop, products);
    let mut empty = side("empty handler", server.empty, vec![request(server.empty, EMPTY)]);
    let watched = Watched::default()
        .process("order-api", server.pid)
        .process("redis", redis)
        .process("clients", i32::try_from(std::process::id())?);
    // Not counted.
    for side in [&mut products, &mut empty] {
        turn(side, &watched, extent).await?;
        (side.rates, side.spent) = (vec![], Spent::default());
    }
    let before = near_hits(server).await?;
    for round in 0..extent.rounds {
        let mut sides = [&mut products, &mut empty];
        // The first of a pair meets another machine than the second: each is first as often.
        if round % 2 == 1 {
            sides.reverse();
        }
        for side in sides {
            turn(side, &watched, extent).await?;
        }
    }
    let near = (near_hits(server).await? - before) / products.spent.events as f64;
    Ok(figures(&products, &empty, near))
}

fn figures(products: &Side, empty: &Side, near: f64) -> Vec<Figure> {
    let rate = |side: &Side| median(side.rates.clone()).unwrap_or_default();
    let cpu = |side: &Side| side.spent.micros_per_event(|name| name == "order-api");
    vec![
        Figure::new("products read from the warm cache", Unit::PerSecond, rate(products))
            .target(Target::RatioAtLeast(0.8))
            .against("an empty handler of the same process", rate(empty))
            .used(&products.spent),
        Figure::new("the empty handler", Unit::PerSecond, rate(empty)).used(&empty.spent),
        Figure::new("processor time of order-api for a product read", Unit::Micros, cpu(products))
            .against("for an answer of the empty handler", cpu(empty)),
        Figure::new("share of the product reads for which Redis was not asked", Unit::Ratio, near),
    ]
}

async fn turn(side: &mut Side, watched: &Watched, extent: Extent) -> anyhow::Result<()> {
    let mut connections = Vec::new();
    for _ in 0..extent.clients {
        connections.push(Connection::open(side.address).await?);
    }
    let (used, began) = (watched.read()?, Instant::now());
    let mut clients = JoinSet::new();
    for (number, connection) in connections.into_iter().enumerate() {
        // Each begins with another product.
        let mut requests = side.requests.clone();
        let first = number * 7 % requests.len();
        requests.rotate_left(first);
        clients.spawn(async move { connection.ask_until(&requests, began + extent.turn).await });
    }
    let mut answers = 0;
    while let Some(answered) = clients.join_next().await {
        answers += answered??;
    }
    let rate = answers as f64 / began.elapsed().as_secs_f64();
    let spent = watched.since(&used, answers)?;
    progress(format!(
        "  {}: {rate:.0}/s, {:.1} us of order-api each",
        side.name,
        spent.micros_per_event(|name| name == "order-api")
    ));
    side.rates.push(rate);
    side.spent.add(&spent);
    Ok(())
}

/// Fills the cache, and checks that both sides answer the same but for the time that it took.
async fn same_answers(server: &Server) -> anyhow::Result<()> {
    for id in PRODUCTS.chain(PRODUCTS) {
        ask(server.shop, &format!("/api/product/{id}")).await?;
    }
    let (product, empty) = (ask(server.shop, "/api/product/1").await?, ask(server.empty, EMPTY).await?);
    let without_time = |answer: &str| answer.rsplit_once(':').map(|(rest, _)| rest.to_owned());
    if without_time(&product) != without_time(&empty) || empty != ANSWER {
        bail!("the two do not answer the same: {product} and {empty}");
    }
    Ok(())
}

/// Product reads so far for which nobody asked Redis.
async fn near_hits(server: &Server) -> anyhow::Result<f64> {
    let text = ask(server.shop, "/metrics").await?;
    let line = text.lines().find_map(|line| line.strip_prefix("product_cache_near_hits_total "));
    Ok(line.context("order-api does not count near hits")?.parse()?)
}
