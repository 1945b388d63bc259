//! The fixture: servers, databases, and the seven services between them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Deref, DerefMut};
use std::process::Command;

use serde_json::{Value, json};
use testkit::{Jaeger, Kind, Process, Servers, TestDatabase, free_port};
use tokio::sync::{MappedMutexGuard, Mutex, MutexGuard};

use crate::audit::execute;
use crate::shop::{Answer, Shop, patiently};

pub(crate) const ORDER_API: &str = "order-api";
pub(crate) const RELAY: &str = "outbox-relay";
pub(crate) const PROVIDERS: &str = "provider-sim";
pub(crate) const CONSUMERS: [&str; 4] =
    ["email-consumer", "sms-consumer", "inventory-consumer", "analytics-consumer"];

/// Order matters: the providers' address is in the consumers' settings, and order-api migrates the relay's database.
const SERVICES: [&str; 7] = [
    PROVIDERS,
    ORDER_API,
    RELAY,
    "email-consumer",
    "sms-consumer",
    "inventory-consumer",
    "analytics-consumer",
];

/// Why not the real 200 and 300 ms: a thousand orders would take minutes. 2 % of the calls fail; with 5 %, as in the real thing, one
/// of the thousands of messages would use up its five attempts in one run of some six hundred.
fn usual_providers() -> Value {
    let channel = json!({ "latency_ms": 3, "failure_rate": 0.02, "lost_answer_rate": 0.0 });
    json!({ "email": channel, "sms": channel })
}

/// A database per service.
pub(crate) struct Databases {
    pub(crate) orders: TestDatabase,
    pub(crate) email: TestDatabase,
    pub(crate) sms: TestDatabase,
    pub(crate) inventory: TestDatabase,
    pub(crate) analytics: TestDatabase,
}

pub(crate) struct System {
    servers: Servers,
    pub(crate) jaeger: Jaeger,
    stopped: BTreeSet<Kind>,
    pub(crate) databases: Databases,
    services: BTreeMap<&'static str, Process>,
}

static SYSTEM: Mutex<Option<System>> = Mutex::const_new(None);

/// The system, whole and quiet, for one test.
pub(crate) async fn system() -> Running {
    let mut slot = SYSTEM.lock().await;
    match slot.as_mut() {
        None => *slot = Some(System::start().await),
        Some(system) => system.mend().await,
    }
    let system = MutexGuard::map(slot, |slot| slot.as_mut().expect("it was started above"));
    system.set_providers(usual_providers()).await;
    Running { shop: Shop::new(system.service(ORDER_API).url("")), system }
}

/// Exclusive use of the system. Shows the logs of all services when the test fails.
pub(crate) struct Running {
    system: MappedMutexGuard<'static, System>,
    /// A client of this test: connections belong to the test's runtime.
    pub(crate) shop: Shop,
}

impl Deref for Running {
    type Target = System;

    fn deref(&self) -> &System {
        &self.system
    }
}

impl DerefMut for Running {
    fn deref_mut(&mut self) -> &mut System {
        &mut self.system
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for service in self.system.services.values() {
                service.show_log();
            }
        }
    }
}

impl System {
    async fn start() -> Self {
        tokio::task::spawn_blocking(|| testkit::build(&SERVICES)).await.expect("the services build");
        // One after the other: free ports of both are drawn from the same range.
        let servers = Servers::private(&Kind::ALL).await;
        let jaeger = Jaeger::start().await;
        create_topics(servers.kafka_brokers());
        let databases = Databases {
            orders: servers.database("orders").await,
            email: servers.database("email").await,
            sms: servers.database("sms").await,
            inventory: servers.database("inventory").await,
            analytics: servers.database("analytics").await,
        };

        let smtp = format!("127.0.0.1:{}", free_port());
        let providers = format!("127.0.0.1:{}", free_port());
        let journal = testkit::scratch_folder().join("provider-sim.jsonl");
        let settings = [
            ("PROVIDER_SIM_ADDR", providers.clone()),
            ("PROVIDER_SIM_SMTP_ADDR", smtp.clone()),
            ("PROVIDER_SIM_JOURNAL", journal.display().to_string()),
            ("ORDERS_DATABASE_URL", databases.orders.url().to_owned()),
            ("EMAIL_DATABASE_URL", databases.email.url().to_owned()),
            ("SMS_DATABASE_URL", databases.sms.url().to_owned()),
            ("INVENTORY_DATABASE_URL", databases.inventory.url().to_owned()),
            ("ANALYTICS_DATABASE_URL", databases.analytics.url().to_owned()),
            ("REDIS_URL", servers.redis_url().to_owned()),
            ("KAFKA_BROKERS", servers.kafka_brokers().to_owned()),
            ("SMTP_URL", format!("smtp://{smtp}")),
            ("SMS_GATEWAY_URL", format!("http://{providers}/sms")),
            // The same steps as the real ones, a tenth as long.
            ("RETRY_BASE", "100ms".to_owned()),
            ("RETRY_CAP", "800ms".to_owned()),
            // A busy machine is no reason to read past the cache.
            ("REDIS_TIMEOUT", "5s".to_owned()),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", jaeger.otlp_url().to_owned()),
        ];
        let settings: Vec<(&str, &str)> =
            settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let mut services = BTreeMap::new();
        for name in SERVICES {
            services.insert(name, Process::spawn(name, &settings).await);
        }
        Self { servers, jaeger, stopped: BTreeSet::new(), databases, services }
    }

    /// Starts what an earlier test stopped or paused and, having failed, did not start again, and mends what it broke.
    async fn mend(&mut self) {
        for kind in std::mem::take(&mut self.stopped) {
            self.servers.start_again(kind).await;
        }
        for (_, database) in self.inboxes() {
            execute(database, "DELETE FROM intake").await;
        }
        for service in self.services.values_mut() {
            if !service.is_running() {
                service.restart_unready();
            }
        }
        self.ready().await;
        self.accept_deliveries().await;
    }

    /// Waits until every service can serve.
    pub(crate) async fn ready(&self) {
        for service in self.services.values() {
            service.ready().await;
        }
    }

    pub(crate) fn service(&self, name: &str) -> &Process {
        &self.services[name]
    }

    pub(crate) fn service_mut(&mut self, name: &str) -> &mut Process {
        self.services.get_mut(name).unwrap_or_else(|| panic!("no service {name}"))
    }

    pub(crate) fn services(&self) -> impl Iterator<Item = (&'static str, &Process)> {
        self.services.iter().map(|(name, process)| (*name, process))
    }

    pub(crate) fn services_mut(&mut self) -> impl Iterator<Item = (&'static str, &mut Process)> {
        self.services.iter_mut().map(|(name, process)| (*name, process))
    }

    pub(crate) fn kafka_brokers(&self) -> &str {
        self.servers.kafka_brokers()
    }

    pub(crate) async fn stop(&mut self, kind: Kind) {
        self.stopped.insert(kind);
        self.servers.stop(kind).await;
    }

    pub(crate) async fn start_again(&mut self, kind: Kind) {
        self.servers.start_again(kind).await;
        self.stopped.remove(&kind);
    }

    pub(crate) async fn set_providers(&self, settings: Value) {
        let url = self.service(PROVIDERS).url("/api/settings");
        let answer =
            reqwest::Client::new().put(url).json(&settings).send().await.expect("the providers answer");
        assert!(answer.status().is_success(), "{:?}", answer.text().await);
    }

    /// Both providers take nothing, or work as usual again.
    pub(crate) async fn refuse_all_deliveries(&self, refuse: bool) {
        let channel = json!({ "latency_ms": 3, "failure_rate": 1.0, "lost_answer_rate": 0.0 });
        let settings = if refuse { json!({ "email": channel, "sms": channel }) } else { usual_providers() };
        self.set_providers(settings).await;
    }

    /// What an operator's command prints; one that fails fails the test.
    pub(crate) async fn ops(&self, arguments: &[&str]) -> String {
        self.try_ops(arguments).await.unwrap_or_else(|said| panic!("ops {arguments:?}: {said}"))
    }

    /// What an operator's command prints, or what it complains about.
    pub(crate) async fn try_ops(&self, arguments: &[&str]) -> Result<String, String> {
        let (succeeded, said, complained) = self.run_ops(arguments).await;
        if succeeded { Ok(said) } else { Err(complained) }
    }

    /// Whether the command succeeded, what it printed, and what it wrote to standard error.
    pub(crate) async fn run_ops(&self, arguments: &[&str]) -> (bool, String, String) {
        let databases = &self.databases;
        let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_ops"))
            .args(arguments)
            .env("USER", "ada")
            .env("KAFKA_BROKERS", self.kafka_brokers())
            .env("ORDERS_DATABASE_URL", databases.orders.url())
            .env("EMAIL_DATABASE_URL", databases.email.url())
            .env("SMS_DATABASE_URL", databases.sms.url())
            .env("INVENTORY_DATABASE_URL", databases.inventory.url())
            .env("ANALYTICS_DATABASE_URL", databases.analytics.url())
            .env("AUDIT_ORDERS_DATABASE_URL", databases.orders.auditor_url())
            .output()
            .await
            .expect("ops runs");
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        (output.status.success(), text(output.stdout), text(output.stderr))
    }

    /// A GET that has to succeed, from any of the services.
    pub(crate) async fn get(&self, service: &str, path: &str) -> Value {
        let (client, url) = (reqwest::Client::new(), self.service(service).url(path));
        let Answer { status, body, .. } = patiently(&url, || client.get(&url)).await;
        assert!(status.is_success(), "{service}{path}: {status} {body}");
        body
    }
}

/// The operator's own command creates the topics: this test's binary set has it.
fn create_topics(brokers: &str) {
    let output = Command::new(env!("CARGO_BIN_EXE_ops"))
        .arg("topics")
        .env("KAFKA_BROKERS", brokers)
        .output()
        .expect("ops runs");
    assert!(output.status.success(), "ops topics: {}", String::from_utf8_lossy(&output.stderr));
}
