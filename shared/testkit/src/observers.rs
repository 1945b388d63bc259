//! A Jaeger and a Prometheus of a test's own. They always run natively: `./dev` gets them, from an archive or by building them.

use std::fs;
use std::net::SocketAddr;

use anyhow::{Context, Result};

use crate::native::{NativeServers, Printed};
use crate::required;

/// Jaeger, with its traces in memory; gone when dropped.
pub struct Jaeger {
    _servers: NativeServers,
    query: String,
    otlp: String,
}

impl Jaeger {
    /// Starts one. The first time on a machine that cannot fetch it, this builds it, which takes minutes.
    pub async fn start() -> Self {
        let started = async {
            let (servers, printed) = NativeServers::start_named(&["jaeger"]).await?;
            let (query, otlp) = (value(&printed, "TEST_JAEGER_URL")?, value(&printed, "TEST_OTLP_URL")?);
            anyhow::Ok(Self { _servers: servers, query, otlp })
        };
        required(started.await.context("no Jaeger"))
    }

    /// Where it answers queries: `http://host:port`.
    pub fn url(&self) -> &str {
        &self.query
    }

    /// Where it takes spans, by OTLP over HTTP: `http://host:port`.
    pub fn otlp_url(&self) -> &str {
        &self.otlp
    }
}

/// Prometheus, with the rules of the repository; gone when dropped.
pub struct Prometheus {
    servers: NativeServers,
    url: String,
}

impl Prometheus {
    /// Starts one that asks nobody yet.
    pub async fn start() -> Self {
        let started = async {
            let (servers, printed) = NativeServers::start_named(&["prometheus"]).await?;
            anyhow::Ok(Self { servers, url: value(&printed, "TEST_PROMETHEUS_URL")? })
        };
        required(started.await.context("no Prometheus"))
    }

    /// Its address: `http://host:port`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Has it ask these from now on, each under the name of its job.
    pub fn ask(&self, targets: &[(&str, SocketAddr)]) {
        let line = |(job, address): &(&str, SocketAddr)| {
            format!("- targets: [\"{address}\"]\n  labels: {{ job: {job} }}\n")
        };
        let text: String = targets.iter().map(line).collect();
        let folder = self.servers.folder().join("prometheus/etc/targets");
        // Renamed into place: Prometheus reads the file whenever it changes.
        let written = fs::write(folder.join("test.part"), text)
            .and_then(|()| fs::rename(folder.join("test.part"), folder.join("test.yml")));
        required(written.context("the targets cannot be written"));
    }
}

fn value(printed: &Printed, name: &str) -> Result<String> {
    printed.get(name).cloned().with_context(|| format!("./dev servers start did not print {name}"))
}
