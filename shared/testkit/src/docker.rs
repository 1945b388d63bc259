//! The same servers as containers, from the images that `docker-compose.yml` pins.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::Path;
use std::sync::{LazyLock, OnceLock};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use testcontainers::core::IntoContainerPort;
use testcontainers::runners::AsyncRunner;
use testcontainers::{ContainerAsync, ContainerRequest, GenericImage, ImageExt};
use tokio::runtime::Runtime;
use uuid::Uuid;

use crate::leftovers::Leftover;
use crate::servers::{Addresses, Kind};

/// Long enough to pull three images over a plain line; an engine that cannot pull must not stop the tests for ever.
const START_DEADLINE: Duration = Duration::from_secs(180);

/// The client of the engine belongs to the runtime that first used it, and each test has its own: one that stays.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(1).enable_all().build().context("cannot start a runtime for Docker");
    crate::required(runtime)
});

/// Why this machine's engine is no use. A pull that fails can take its time, and the next one would fail alike.
static NO_USE: OnceLock<String> = OnceLock::new();

async fn on_runtime<T: Send + 'static>(work: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
    RUNTIME.spawn(work).await.context("the work with the container engine panicked")?
}

/// Containers, removed when dropped.
pub(crate) struct Containers {
    running: BTreeMap<Kind, (ContainerAsync<GenericImage>, Option<Leftover>)>,
}

impl Containers {
    pub(crate) async fn start(kinds: &[Kind]) -> Result<(Self, Addresses)> {
        if let Some(reason) = NO_USE.get() {
            bail!("{reason}");
        }
        let started = Self::try_start(kinds).await;
        if let Err(reason) = &started {
            // Whoever comes second failed for the same reason.
            let _ = NO_USE.set(format!("{reason:#}"));
        }
        started
    }

    async fn try_start(kinds: &[Kind]) -> Result<(Self, Addresses)> {
        engine_in_reach()?;
        let requests: Vec<_> = kinds.iter().map(|kind| request(*kind)).collect::<Result<_>>()?;
        let addresses = requests.iter().map(|request| (request.kind, request.address.clone())).collect();
        // A container that did start comes back out of here even if another did not: dropping it waits for the
        // runtime, which must not be done on the runtime.
        let (containers, failure) = on_runtime(async move {
            let mut containers = Self { running: BTreeMap::new() };
            let end = tokio::time::Instant::now() + START_DEADLINE;
            for Request { kind, name, container, .. } in requests {
                let leftover = Leftover::register(&format!("docker rm --force --volumes {name}"))?;
                let started = tokio::time::timeout_at(end, container.start()).await;
                match started.context("the engine started it not in time").and_then(|done| Ok(done?)) {
                    Ok(started) => drop(containers.running.insert(kind, (started, Some(leftover)))),
                    Err(error) => {
                        leftover.keep();
                        return Ok((containers, Some(error.context(format!("no {}", kind.name())))));
                    }
                }
            }
            Ok((containers, None))
        })
        .await?;
        failure.map_or(Ok((containers, addresses)), Err)
    }

    pub(crate) fn keep_until_exit(&mut self) {
        for (_, leftover) in self.running.values_mut() {
            leftover.take().into_iter().for_each(Leftover::keep);
        }
    }

    pub(crate) async fn stop(&self, kind: Kind) -> Result<()> {
        self.command(kind, &["stop", "--time", "20"]).await
    }

    pub(crate) async fn kill(&self, kind: Kind) -> Result<()> {
        self.command(kind, &["kill"]).await
    }

    pub(crate) async fn start_again(&self, kind: Kind) -> Result<()> {
        self.command(kind, &["start"]).await
    }

    async fn command(&self, kind: Kind, verb: &[&str]) -> Result<()> {
        let (container, _) = self.running.get(&kind).with_context(|| format!("no {}", kind.name()))?;
        let output = tokio::process::Command::new("docker").args(verb).arg(container.id()).output().await?;
        if !output.status.success() {
            bail!("docker {}: {}", verb.join(" "), String::from_utf8_lossy(&output.stderr));
        }
        Ok(())
    }
}

impl Drop for Containers {
    fn drop(&mut self) {
        let running = std::mem::take(&mut self.running);
        let removal = std::thread::spawn(move || {
            RUNTIME.block_on(async {
                for (container, leftover) in running.into_values() {
                    // With the leftover kept, the guard tries again at the end of the process.
                    if container.rm().await.is_err() {
                        leftover.into_iter().for_each(Leftover::keep);
                    }
                }
            });
        });
        let _ = removal.join();
    }
}

/// Only an engine on this machine: tests reach published ports on loopback. The look at the socket is free, whereas
/// a client that finds none takes a while to say so.
fn engine_in_reach() -> Result<()> {
    if let Ok(host) = std::env::var("DOCKER_HOST") {
        let socket =
            host.strip_prefix("unix://").with_context(|| format!("DOCKER_HOST={host} is not local"))?;
        return if Path::new(socket).exists() { Ok(()) } else { bail!("no engine at {socket}") };
    }
    let home = std::env::var("HOME").unwrap_or_default();
    let runtime = std::env::var("XDG_RUNTIME_DIR").unwrap_or_default();
    let sockets = [
        "/var/run/docker.sock".to_owned(),
        format!("{runtime}/.docker/run/docker.sock"),
        format!("{home}/.docker/run/docker.sock"),
        format!("{home}/.docker/desktop/docker.sock"),
    ];
    if sockets.iter().any(|socket| Path::new(socket).exists()) {
        Ok(())
    } else {
        bail!("no container engine")
    }
}

struct Request {
    kind: Kind,
    name: String,
    container: ContainerRequest<GenericImage>,
    address: String,
}

/// Host ports are chosen by us, not by the engine: they survive a stop and a start, and Kafka has to announce its own.
fn request(kind: Kind) -> Result<Request> {
    let port = crate::free_port();
    let (image, inside) = match kind {
        Kind::Postgres => ("postgres", 5432),
        Kind::Redis => ("redis", 6379),
        Kind::Kafka => ("apache/kafka", 9092),
    };
    let tag = pinned_tag(image)?;
    // Named by us, so that its removal can be arranged before it exists.
    let name = format!("orderflow-test-{}", Uuid::new_v4().simple());
    let on_loopback =
        GenericImage::new(image, &tag).with_mapped_port(port, inside.tcp()).with_container_name(&name);
    let on_loopback = on_loopback.with_host_config_modifier(|host| {
        for binding in host.port_bindings.iter_mut().flatten().flat_map(|(_, bindings)| bindings).flatten() {
            binding.host_ip = Some("127.0.0.1".to_owned());
        }
    });
    let (container, address) = match kind {
        Kind::Postgres => (
            // Nothing here has to survive the machine; the commits of a killed server survive without fsync.
            on_loopback.with_env_var("POSTGRES_HOST_AUTH_METHOD", "trust").with_cmd([
                "postgres",
                "-cfsync=off",
                "-cmax_connections=300",
            ]),
            format!("postgres://postgres@127.0.0.1:{port}/postgres"),
        ),
        Kind::Redis => (on_loopback, format!("redis://127.0.0.1:{port}")),
        Kind::Kafka => {
            let settings = crate::workspace_root().join("deploy/kafka/server.properties");
            // The image starts from the file in this place.
            let with_settings = on_loopback.with_copy_to("/mnt/shared/config/server.properties", settings);
            let with_settings = kafka_settings(port)
                .into_iter()
                .fold(with_settings, |container, (name, value)| container.with_env_var(name, value));
            (with_settings, format!("127.0.0.1:{port}"))
        }
    };
    Ok(Request { kind, name, container, address })
}

/// What differs from broker to broker; the compose file has the same list. The rest is in `server.properties`.
fn kafka_settings(port: u16) -> [(&'static str, String); 6] {
    [
        ("KAFKA_LISTENERS", "PLAINTEXT://:9092,CONTROLLER://:9093".to_owned()),
        ("KAFKA_ADVERTISED_LISTENERS", format!("PLAINTEXT://127.0.0.1:{port}")),
        ("KAFKA_LISTENER_SECURITY_PROTOCOL_MAP", "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT".to_owned()),
        ("KAFKA_CONTROLLER_QUORUM_VOTERS", "1@127.0.0.1:9093".to_owned()),
        ("KAFKA_LOG_DIRS", "/var/lib/kafka/data".to_owned()),
        ("KAFKA_HEAP_OPTS", "-Xmx512m".to_owned()),
    ]
}

/// The tag in the compose file, so that tests and `docker compose up` cannot drift apart.
fn pinned_tag(image: &str) -> Result<String> {
    let file = crate::workspace_root().join("docker-compose.yml");
    let compose =
        std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    tag_in(&compose, image).with_context(|| format!("{} pins no tag for {image}", file.display()))
}

fn tag_in(compose: &str, image: &str) -> Option<String> {
    let named = compose.lines().filter_map(|line| line.trim().strip_prefix("image:"));
    let mut names = named.map(|name| name.trim().trim_matches(['"', '\'']));
    names.find_map(|name| name.strip_prefix(image)?.strip_prefix(':').map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tag_is_the_one_that_the_compose_file_pins() {
        let compose =
            "services:\n  db:\n    image: postgres:17-bookworm\n  bus:\n    image: \"apache/kafka:4.1.1\"\n";
        assert_eq!(tag_in(compose, "postgres").as_deref(), Some("17-bookworm"));
        assert_eq!(tag_in(compose, "apache/kafka").as_deref(), Some("4.1.1"));
        assert_eq!(tag_in(compose, "redis"), None);
    }
}
