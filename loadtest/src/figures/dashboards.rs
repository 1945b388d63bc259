//! The queries, as the dashboards have them.

use anyhow::Context;
use serde::Deserialize;

const DASHBOARDS: [(&str, &str); 4] = [
    ("overview", include_str!("../../../deploy/grafana/dashboards/overview.json")),
    ("api", include_str!("../../../deploy/grafana/dashboards/api.json")),
    ("relay", include_str!("../../../deploy/grafana/dashboards/relay.json")),
    ("cache", include_str!("../../../deploy/grafana/dashboards/cache.json")),
];

/// A panel of a dashboard, by its title.
pub(super) struct Source {
    dashboard: &'static str,
    title: &'static str,
    legend: Option<&'static str>,
    /// Whether a curve that is zero throughout is left out.
    pub(super) quiet: bool,
}

/// One curve of a panel, or one for each value of a label.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(super) struct Query {
    pub(super) expr: String,
    /// What a curve is called: text with labels in double braces.
    #[serde(rename = "legendFormat")]
    pub(super) legend: String,
}

#[derive(Deserialize)]
struct Dashboard {
    panels: Vec<Panel>,
}

#[derive(Deserialize)]
struct Panel {
    title: String,
    targets: Vec<Query>,
}

impl Source {
    pub(super) const fn of(dashboard: &'static str, title: &'static str) -> Self {
        Self { dashboard, title, legend: None, quiet: false }
    }

    /// Of its curves, that of this legend.
    pub(super) const fn only(self, legend: &'static str) -> Self {
        Self { legend: Some(legend), ..self }
    }

    pub(super) const fn quiet(self) -> Self {
        Self { quiet: true, ..self }
    }

    pub(super) fn queries(&self) -> anyhow::Result<Vec<Query>> {
        let Self { dashboard, title, .. } = self;
        let (_, text) =
            DASHBOARDS.iter().find(|(name, _)| name == dashboard).context("there is no such dashboard")?;
        let panels = serde_json::from_str::<Dashboard>(text)
            .with_context(|| format!("dashboard {dashboard} cannot be read"))?
            .panels;
        let panel = panels.into_iter().find(|panel| panel.title == *title);
        let mut queries =
            panel.with_context(|| format!("dashboard {dashboard} has no panel '{title}'"))?.targets;
        queries.retain(|query| self.legend.is_none_or(|legend| query.legend == legend));
        Ok(queries)
    }
}
