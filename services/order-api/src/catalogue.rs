//! Listing the catalogue, page by page.

use axum::extract::State;
use service_runtime::Problem;
use service_runtime::http::Json;
use storefront::{CataloguePage, Page, Stopwatch};

use crate::{Shop, store};

pub(crate) async fn page(
    clock: Stopwatch,
    State(shop): State<Shop>,
    page: Page,
) -> Result<Json<CataloguePage>, Problem> {
    let (products, total) = store::products(&shop.reads, page.offset(), page.per_page().into())
        .await
        .map_err(store::cannot_read)?;
    Ok(Json(CataloguePage::new(page, products, total, clock.elapsed_ms())))
}
