//! Reading one product: from the cache, or else from the database, once for all who ask at the same time.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use persistence::sql::Traced;
use product_cache::Entry;
use service_runtime::Problem;
use service_runtime::http::Json;
use sqlx::PgPool;
use storefront::{Product, ProductAnswer, ProductId, Stopwatch, refusals};

use crate::cache::Found;
use crate::{Shop, store};

pub(crate) async fn product(
    clock: Stopwatch,
    State(shop): State<Shop>,
    ProductId(id): ProductId,
) -> Result<Response, Problem> {
    let load = async || load(&shop.reads, id).await.map_err(store::cannot_read);
    let Found { entry, from_cache } = shop.cache.get(id, load).await?;
    let product = entry.json().ok_or_else(refusals::product_not_found)?;
    Ok(Json(ProductAnswer::new(product, from_cache, clock.elapsed_ms())).into_response())
}

/// The product with the version of its row, by which the cache tells old from new.
async fn load(pool: &PgPool, id: i32) -> Result<Entry, sqlx::Error> {
    let row =
        sqlx::query!("SELECT id, name, description, price_cents, version FROM products WHERE id = $1", id)
            .fetch_optional(pool)
            .traced("SELECT", "products")
            .await?;
    let Some(row) = row else { return Ok(Entry::none()) };
    let version = u64::try_from(row.version).map_err(|error| sqlx::Error::Decode(error.into()))?;
    let price = store::money(row.price_cents)?;
    let product = Product { id: row.id, name: row.name, description: row.description, price };
    Entry::product(version, &product).map_err(|error| sqlx::Error::Decode(error.into()))
}
