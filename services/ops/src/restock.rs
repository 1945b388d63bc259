//! `ops restock`.
//!
//! It writes to the inventory's database under the inventory's own role, as its migrations do. An HTTP endpoint would be the
//! other way, but the inventory answers everybody who reaches it and asks nobody who they are: whoever could read the stock could make it
//! up. The role's password is what tells an operator from the rest.

use anyhow::{Context, bail};
use sqlx::PgPool;

/// What to restock, and where.
#[derive(clap::Args)]
pub struct RestockSettings {
    /// A product's id, or all
    #[arg(value_name = "PRODUCT", value_parser = product)]
    pub product: Product,
    /// Pieces to add: a number from 1 to 1000000. Running it twice adds them twice
    #[arg(value_name = "QUANTITY", value_parser = clap::value_parser!(i32).range(1..=1_000_000))]
    pub quantity: i32,
    /// Inventory database: postgres://user:password@host:port/database
    #[arg(long, env = "INVENTORY_DATABASE_URL", hide_env_values = true, value_parser = service_runtime::settings::postgres_url,
          default_value = "postgres://inventory:inventory@127.0.0.1:15432/inventory")]
    pub inventory_database_url: String,
}

/// Which products.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Product {
    /// Every product that the stock knows.
    All,
    /// The one with this id.
    Id(i32),
}

fn product(text: &str) -> Result<Product, String> {
    match text.parse() {
        Ok(id) => Ok(Product::Id(id)),
        Err(_) if text == "all" => Ok(Product::All),
        Err(_) => Err("expected a product's id or all".to_owned()),
    }
}

pub(crate) async fn run(settings: &RestockSettings) -> anyhow::Result<()> {
    let pool = persistence::pool::connect_lazy(&settings.inventory_database_url, 1, "ops restock")?;
    let restocked =
        restock(&pool, settings.product, settings.quantity).await.context("nothing was restocked")?;
    println!("{restocked} products have {} pieces more", settings.quantity);
    Ok(())
}

/// Adds the pieces and records the movement, in one statement. Returns how many products it was.
async fn restock(pool: &PgPool, product: Product, quantity: i32) -> anyhow::Result<u64> {
    let id = match product {
        Product::All => None,
        Product::Id(id) => Some(id),
    };
    // In the order of the ids, as the consumer does, so that the two never wait for each other.
    let restocked = sqlx::query(
        "WITH locked AS (
             SELECT product_id FROM stock WHERE $1::integer IS NULL OR product_id = $1 ORDER BY product_id FOR UPDATE
         ), added AS (
             UPDATE stock SET on_hand = on_hand + $2 FROM locked WHERE stock.product_id = locked.product_id
             RETURNING stock.product_id
         )
         INSERT INTO stock_movements (product_id, delta, reason) SELECT product_id, $2, 'restock' FROM added",
    )
    .bind(id)
    .bind(quantity)
    .execute(pool)
    .await?
    .rows_affected();
    match id {
        Some(id) if restocked == 0 => bail!("the stock knows no product {id}"),
        _ => Ok(restocked),
    }
}
