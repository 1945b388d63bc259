//! What was delivered, and how the stand-in behaves.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Json as Answer;
use serde::Serialize;
use service_runtime::http::Json;
use service_runtime::problem::Problem;

use crate::channel::{Channel, PerChannel};
use crate::ledger::{OrderCounts, Totals};
use crate::provider::Provider;
use crate::settings::{Settings, SettingsChange};

/// The deliveries of one order.
#[derive(Serialize)]
pub(crate) struct OrderDeliveries {
    order_id: String,
    #[serde(flatten)]
    counts: PerChannel<OrderCounts>,
}

/// `GET /api/deliveries/{order_id}`; an order nobody wrote about has zeros.
pub(crate) async fn order(
    State(provider): State<Arc<Provider>>,
    Path(order_id): Path<String>,
) -> Answer<OrderDeliveries> {
    let counts = provider.order(&order_id);
    Answer(OrderDeliveries { order_id, counts })
}

/// A channel as it stands.
#[derive(Serialize)]
pub(crate) struct ChannelTotals {
    #[serde(flatten)]
    totals: Totals,
    in_progress: u64,
}

/// `GET /api/deliveries`: the totals of each channel, and how many messages are being worked on.
pub(crate) async fn totals(State(provider): State<Arc<Provider>>) -> Answer<PerChannel<ChannelTotals>> {
    let totals = provider.totals();
    let of =
        |channel| ChannelTotals { totals: *totals.of(channel), in_progress: provider.in_progress(channel) };
    Answer(PerChannel { email: of(Channel::Email), sms: of(Channel::Sms) })
}

/// `GET /api/settings`.
pub(crate) async fn settings(State(provider): State<Arc<Provider>>) -> Answer<Settings> {
    Answer(provider.settings())
}

/// `PUT /api/settings`: changes what the body names, all of it or nothing, and answers with all settings.
pub(crate) async fn change_settings(
    State(provider): State<Arc<Provider>>,
    Json(change): Json<SettingsChange>,
) -> Result<Answer<Settings>, Problem> {
    match provider.change_settings(change) {
        Ok(settings) => {
            tracing::info!(?settings, "settings changed");
            Ok(Answer(settings))
        }
        Err(wrong) => {
            let summary: Vec<_> =
                wrong.iter().map(|wrong| format!("{} {}", wrong.field, wrong.detail)).collect();
            let problem = Problem::new(StatusCode::UNPROCESSABLE_ENTITY, summary.join("; "));
            Err(wrong.into_iter().fold(problem, |problem, wrong| problem.field(&wrong.field, wrong.detail)))
        }
    }
}
