//! Reading products, each time from the database.

use axum::extract::State;
use service_runtime::Problem;
use service_runtime::http::Json;
use storefront::{CacheStats, CataloguePage, Page, Product, ProductAnswer, ProductId, Stopwatch, refusals};
use tracing::warn;

use crate::{Shop, store};

pub(crate) async fn product(
    clock: Stopwatch,
    State(shop): State<Shop>,
    ProductId(id): ProductId,
) -> Result<Json<ProductAnswer<Product>>, Problem> {
    tokio::time::sleep(shop.costs.product).await;
    let product = store::product(&shop.pool, id).await.map_err(cannot_read)?;
    let product = product.ok_or_else(refusals::product_not_found)?;
    Ok(Json(ProductAnswer::new(product, false, clock.elapsed_ms())))
}

pub(crate) async fn page(
    clock: Stopwatch,
    State(shop): State<Shop>,
    page: Page,
) -> Result<Json<CataloguePage>, Problem> {
    tokio::time::sleep(shop.costs.product).await;
    let (products, total) =
        store::products(&shop.pool, page.offset(), page.per_page().into()).await.map_err(cannot_read)?;
    Ok(Json(CataloguePage::new(page, products, total, clock.elapsed_ms())))
}

/// There is no cache; the path exists so that the same client can ask both systems.
pub(crate) async fn cache_stats() -> Json<CacheStats> {
    Json(CacheStats::new(0, 0))
}

/// The cause is logged here, once, and not sent.
pub(crate) fn cannot_read(error: sqlx::Error) -> Problem {
    warn!(%error, "the database did not answer");
    refusals::cannot_read()
}
