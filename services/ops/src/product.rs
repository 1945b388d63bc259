//! `ops product set`.
//!
//! The catalogue's row is changed first, then the cache is told. A crash between the two leaves the old product in the cache until its time to live is
//! over; the other way round, readers could see a change that never happened.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use contracts::Money;
use product_cache::Entry;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, RedisError};
use sqlx::PgPool;
use storefront::Product;

/// The exit status if the catalogue was changed and the cache could not be told.
const CACHE_NOT_TOLD: u8 = 3;
/// For each step of the way to Redis.
const REDIS_TIMEOUT: Duration = Duration::from_secs(2);

/// What an operator can do about a product.
#[derive(clap::Subcommand)]
pub enum ProductCommand {
    /// Change a product of the catalogue, and tell the cache
    ///
    /// Readers see the change within milliseconds. New orders are priced by it; orders that were taken keep their price. If the cache cannot be told, the
    /// exit status is 3: the change stands, and readers may see the old product until its time in the cache is over.
    Set(SetSettings),
}

/// Which product, and what becomes of it.
#[derive(clap::Args)]
pub struct SetSettings {
    /// The product's id
    #[arg(value_name = "ID")]
    pub id: i32,
    /// What changes.
    #[command(flatten)]
    pub change: Change,
    /// Orders database: postgres://user:password@host:port/database
    #[arg(long, env = "ORDERS_DATABASE_URL", hide_env_values = true, value_parser = service_runtime::settings::postgres_url,
          default_value = "postgres://orders:orders@127.0.0.1:15432/orders")]
    pub orders_database_url: String,
    /// Redis of the product cache: redis://host:port, with /number for another database than 0
    #[arg(long, env = "REDIS_URL", hide_env_values = true, value_parser = product_cache::redis_url,
          default_value = "redis://127.0.0.1:16379")]
    pub redis_url: String,
    /// How long the product stays cached, at most: a duration like 5m; the same as for order-api
    #[arg(long, env = "PRODUCT_CACHE_TTL", value_parser = service_runtime::settings::duration, default_value = "5m")]
    pub ttl: Duration,
}

/// What becomes of a product. What is not given stays.
#[derive(Clone, Debug, Default, clap::Args)]
#[group(required = true, multiple = true)]
pub struct Change {
    /// What one costs: a number above 0 with at most two decimals such as 24.99
    #[arg(long, value_name = "PRICE", value_parser = price)]
    pub price: Option<Money>,
    /// Its name: 1 to 200 characters
    #[arg(long, value_name = "TEXT", value_parser = |text: &str| bounded(text, 1, 200))]
    pub name: Option<String>,
    /// What it is: up to 2000 characters
    #[arg(long, value_name = "TEXT", value_parser = |text: &str| bounded(text, 0, 2000))]
    pub description: Option<String>,
}

fn price(text: &str) -> Result<Money, String> {
    let refused = || "expected a number above 0 with at most two decimals such as 24.99".to_owned();
    let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
    let is_number = |digits: &str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(whole) || !is_number(decimals) || decimals.len() > 2 {
        return Err(refused());
    }
    let cents: i64 = format!("{whole}{decimals:0<2}").parse().map_err(|_| refused())?;
    Money::from_cents(cents).ok().filter(|price| *price > Money::ZERO).ok_or_else(refused)
}

fn bounded(text: &str, least: usize, most: usize) -> Result<String, String> {
    let is_good = (least..=most).contains(&text.chars().count()) && !text.contains('\0');
    if is_good { Ok(text.to_owned()) } else { Err(format!("expected {least} to {most} characters")) }
}

pub(crate) async fn run(command: &ProductCommand) -> anyhow::Result<ExitCode> {
    let ProductCommand::Set(settings) = command;
    let pool = persistence::pool::connect_lazy(&settings.orders_database_url, 1, "ops product")?;
    let changed = change(&pool, settings.id, &settings.change).await.context("nothing was changed")?;
    let Product { id, name, price, .. } = &changed.product;
    println!("product {id} is {name:?} at {price} now, version {}", changed.version);
    let told = async {
        let mut redis = connect(&settings.redis_url).await?;
        write_through(&mut redis, &changed, settings.ttl).await
    };
    if let Err(error) = told.await {
        eprintln!(
            "ops: the cache could not be told ({error}): readers may see the product as it was for up to {:?}; run this again once Redis is back",
            settings.ttl
        );
        return Ok(ExitCode::from(CACHE_NOT_TOLD));
    }
    Ok(ExitCode::SUCCESS)
}

/// A product as a change left it.
#[derive(Clone, Debug)]
pub struct Changed {
    /// The product.
    pub product: Product,
    /// The version of its row, one more than before.
    pub version: u64,
}

/// Changes the catalogue's row, and nothing else: the cache is told by [`write_through`].
///
/// # Errors
/// There is no such product, or the database does not take it.
pub async fn change(pool: &PgPool, id: i32, change: &Change) -> anyhow::Result<Changed> {
    let row: Option<(String, String, i64, i64)> = sqlx::query_as(
        "UPDATE products
         SET name = coalesce($2, name), description = coalesce($3, description), price_cents = coalesce($4, price_cents),
             version = version + 1
         WHERE id = $1 RETURNING name, description, price_cents, version",
    )
    .bind(id)
    .bind(&change.name)
    .bind(&change.description)
    .bind(change.price.map(Money::cents))
    .fetch_optional(pool)
    .await?;
    let Some((name, description, cents, version)) = row else { bail!("there is no product {id}") };
    let product = Product { id, name, price: Money::from_cents(cents)?, description };
    Ok(Changed { product, version: version.try_into()? })
}

/// A connection for [`write_through`], on which nothing takes longer than two seconds.
///
/// # Errors
/// Redis cannot be reached.
pub async fn connect(url: &str) -> Result<MultiplexedConnection, RedisError> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(REDIS_TIMEOUT))
        .set_response_timeout(Some(REDIS_TIMEOUT));
    Client::open(url)?.get_multiplexed_async_connection_with_config(&config).await
}

/// Tells the cache, for `ttl` at most. When this returns, what the cache has is this or a later change.
///
/// # Errors
/// Redis does not take it. Readers may see the product as it was, until its time in the cache is over.
pub async fn write_through(
    redis: &mut MultiplexedConnection,
    changed: &Changed,
    ttl: Duration,
) -> anyhow::Result<()> {
    let entry = Entry::product(changed.version, &changed.product)?;
    let _stored: bool = product_cache::store(changed.product.id, &entry, ttl).query_async(redis).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_price_is_a_decimal_number_above_zero() {
        for (text, cents) in [("24.99", 2499), ("24.9", 2490), ("24", 2400), ("0.01", 1), ("007.50", 750)] {
            assert_eq!(price(text).unwrap().cents(), cents, "{text}");
        }
        for text in ["", "0", "0.00", "-1", "+1", "1.999", "1.", ".5", "1e3", "1,5", "99999999999999.99", "٣"]
        {
            assert!(price(text).is_err(), "{text}");
        }
    }

    #[test]
    fn texts_have_bounds() {
        assert!(bounded("", 1, 200).is_err() && bounded("", 0, 200).is_ok());
        assert!(bounded(&"ä".repeat(200), 1, 200).is_ok() && bounded(&"ä".repeat(201), 1, 200).is_err());
    }
}
