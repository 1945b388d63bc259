//! Reading one product: from the cache, or else from the database, once for all who ask at the same time.

use axum::extract::State;
use service_runtime::Problem;
use service_runtime::http::Json;
use storefront::{Product, ProductAnswer, ProductId, Stopwatch, refusals};

use crate::cache::Found;
use crate::{Shop, store};

pub(crate) async fn product(
    clock: Stopwatch,
    State(shop): State<Shop>,
    ProductId(id): ProductId,
) -> Result<Json<ProductAnswer<Product>>, Problem> {
    let load = async || store::product(&shop.reads, id).await.map_err(store::cannot_read);
    let Found { product, from_cache } = shop.cache.get(id, load).await?;
    let product = product.ok_or_else(refusals::product_not_found)?;
    Ok(Json(ProductAnswer::new(product, from_cache, clock.elapsed_ms())))
}
