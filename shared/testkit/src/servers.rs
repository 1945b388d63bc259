//! Postgres, Redis and Kafka for tests, from wherever they can be had.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use tokio::sync::OnceCell;
use uuid::Uuid;

use crate::docker::Containers;
use crate::eventually::poll;
use crate::native::NativeServers;
use crate::{PATIENCE, TestDatabase, database, kafka, redis, required};

/// A kind of server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// PostgreSQL, reached as superuser.
    Postgres,
    /// Redis.
    Redis,
    /// One node of Apache Kafka.
    Kafka,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 3] = [Kind::Postgres, Kind::Redis, Kind::Kafka];

    /// The name in `./dev servers --only`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Postgres => "postgres",
            Kind::Redis => "redis",
            Kind::Kafka => "kafka",
        }
    }

    /// The variable that names a running server, for us and from `./dev servers start`.
    pub(crate) fn variable(self) -> &'static str {
        match self {
            Kind::Postgres => "TEST_POSTGRES_URL",
            Kind::Redis => "TEST_REDIS_URL",
            Kind::Kafka => "TEST_KAFKA_BROKERS",
        }
    }
}

/// Where each server answers, in the form that its clients want: URL, URL, `host:port`.
pub(crate) type Addresses = BTreeMap<Kind, String>;

/// A set of servers.
pub struct Servers {
    addresses: Addresses,
    origin: Origin,
    roles: OnceCell<()>,
}

enum Origin {
    /// Named by the environment: somebody else's, so nothing here stops them.
    Given,
    Docker(Containers),
    Native(NativeServers),
}

impl Servers {
    /// One set for all tests of this process, gone with the process.
    ///
    /// Tests keep out of each other's way by fresh databases and topics, not by servers of their own.
    pub async fn shared() -> &'static Self {
        static SHARED: OnceCell<Servers> = OnceCell::const_new();
        SHARED
            .get_or_init(async || {
                let given = given();
                if Kind::ALL.iter().all(|kind| given.contains_key(kind)) {
                    return required(Self::serving(given, Origin::Given).await);
                }
                required(Self::start(&Kind::ALL).await).outlives_tests()
            })
            .await
    }

    /// A set of its own, which the test may stop, kill and start again; removed when dropped.
    pub async fn private(kinds: &[Kind]) -> Self {
        required(Self::start(kinds).await)
    }

    async fn start(kinds: &[Kind]) -> Result<Self> {
        if std::env::var("TEST_SERVERS").as_deref() != Ok("native") {
            match Self::start_containers(kinds).await {
                Ok(servers) => return Ok(servers),
                // An engine that answers and starts nothing (no registry in reach, say) is as good as none.
                Err(reason) => {
                    eprintln!("testkit: no containers, starting the servers natively ({reason:#})")
                }
            }
        }
        let (native, addresses) = NativeServers::start(kinds).await?;
        Self::serving(addresses, Origin::Native(native)).await
    }

    async fn start_containers(kinds: &[Kind]) -> Result<Self> {
        let (containers, addresses) = Containers::start(kinds).await?;
        Self::serving(addresses, Origin::Docker(containers)).await
    }

    async fn serving(addresses: Addresses, origin: Origin) -> Result<Self> {
        let servers = Self { addresses, origin, roles: OnceCell::new() };
        for kind in servers.addresses.keys() {
            servers.serves(*kind).await?;
        }
        Ok(servers)
    }

    /// A static is never dropped: the guard of this process removes the servers instead.
    fn outlives_tests(mut self) -> Self {
        match &mut self.origin {
            Origin::Given => {}
            Origin::Docker(containers) => containers.keep_until_exit(),
            Origin::Native(native) => native.keep_until_exit(),
        }
        self
    }

    /// Waits until the server does its work, not only until its port is open.
    async fn serves(&self, kind: Kind) -> Result<()> {
        let address = self.address(kind);
        let what = format!("{} at {address} serves", kind.name());
        let served = poll(PATIENCE, &what, async || {
            let answer = match kind {
                Kind::Postgres => database::select_1(address).await,
                Kind::Redis => redis::ping(address).await,
                Kind::Kafka => kafka::metadata(address).await,
            };
            answer.map_err(|error| format!("{error:#}"))
        });
        served.await.map_err(anyhow::Error::msg)
    }

    fn address(&self, kind: Kind) -> &str {
        let address = self.addresses.get(&kind).map(String::as_str);
        required(address.with_context(|| format!("this set of servers was started without {}", kind.name())))
    }

    /// The superuser's URL. Services get [`TestDatabase::url`].
    pub fn postgres_url(&self) -> &str {
        self.address(Kind::Postgres)
    }

    /// Redis' URL, shared by all tests on these servers.
    pub fn redis_url(&self) -> &str {
        self.address(Kind::Redis)
    }

    /// Redis' URL with the number of an empty database in it, for a test that counts hits or lists keys.
    pub async fn redis_database(&self) -> String {
        required(redis::fresh_database(self.redis_url()).await)
    }

    /// Kafka's bootstrap address.
    pub fn kafka_brokers(&self) -> &str {
        self.address(Kind::Kafka)
    }

    /// A fresh, empty database owned by `role`: one of `deploy/postgres/databases.sql`, with its settings.
    pub async fn database(&self, role: &str) -> TestDatabase {
        let admin_url = self.postgres_url();
        let created = async {
            self.roles.get_or_try_init(|| database::create_roles(admin_url)).await?;
            TestDatabase::create(admin_url, role).await
        };
        required(created.await.with_context(|| format!("no test database for {role}")))
    }

    /// Creates a topic under a unique name that starts with `name`, and returns that name.
    pub async fn topic(&self, name: &str, partitions: i32) -> String {
        let unique = format!("{name}.{}", Uuid::new_v4().simple());
        required(kafka::create_topic(self.kafka_brokers(), &unique, partitions).await);
        unique
    }

    /// Stops a server of a private set in good order. Its port and its data stay.
    pub async fn stop(&self, kind: Kind) {
        required(match &self.origin {
            Origin::Given => Self::not_ours(kind),
            Origin::Docker(containers) => containers.stop(kind).await,
            Origin::Native(native) => native.stop(kind).await,
        });
    }

    /// Kills a server of a private set: no farewell to its clients, nothing written down. Its port and its data stay.
    pub async fn kill(&self, kind: Kind) {
        required(match &self.origin {
            Origin::Given => Self::not_ours(kind),
            Origin::Docker(containers) => containers.kill(kind).await,
            Origin::Native(native) => native.kill(kind).await,
        });
    }

    /// Starts a stopped or killed server of a private set where it was, and waits until it serves.
    pub async fn start_again(&self, kind: Kind) {
        required(match &self.origin {
            Origin::Given => Self::not_ours(kind),
            Origin::Docker(containers) => containers.start_again(kind).await,
            Origin::Native(native) => native.start_again(kind).await,
        });
        required(self.serves(kind).await);
    }

    fn not_ours(kind: Kind) -> Result<()> {
        bail!("{} is named by {}: it is not ours to stop or start", kind.name(), kind.variable())
    }
}

fn given() -> Addresses {
    let given = |kind: Kind| std::env::var(kind.variable()).ok().filter(|value| !value.is_empty());
    Kind::ALL.into_iter().filter_map(|kind| Some((kind, given(kind)?))).collect()
}
