//! An outbox of its own, a topic of its own, and relays that can be killed.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt;
use messaging::{KafkaSettings, TopicSpec, ensure_topics};
use outbox_relay::{Observer, Point, Relay, RelaySettings, RelayStatus};
use persistence::outbox;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::{Offset, TopicPartitionList};
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, PgConnection, PgPool};
use testkit::{PATIENCE, Servers, TestDatabase, eventually, next_record, within};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub(crate) const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
/// Of the relays that run within the test.
pub(crate) const LEASE: Duration = Duration::from_secs(2);
const PARTITIONS: i32 = 3;

pub(crate) struct Fixture {
    pub(crate) pool: PgPool,
    pub(crate) database: TestDatabase,
    pub(crate) kafka: KafkaSettings,
    topic: String,
    admin_url: String,
    reader: Mutex<Option<BaseConsumer>>,
}

pub(crate) struct Record {
    pub(crate) key: String,
    pub(crate) payload: String,
    pub(crate) headers: HashMap<String, String>,
}

/// A relay on this test's runtime.
pub(crate) struct Running {
    pub(crate) status: RelayStatus,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.unwrap();
    }

    /// Ends it wherever it is, without giving anything back.
    pub(crate) fn kill(&self) {
        self.task.abort();
    }

    pub(crate) async fn until_it_holds(&self, buckets: usize) {
        eventually(&format!("the relay holds {buckets} buckets"), async || match self.status.buckets() {
            held if held == buckets => Ok(()),
            held => Err(format!("it holds {held}")),
        })
        .await;
    }

    pub(crate) async fn until_its_trouble_is(&self, wanted: &str) {
        eventually(&format!("the relay reports: {wanted}"), async || match self.status.check() {
            Ok(()) => Err("it is well".to_owned()),
            Err(trouble) if trouble.contains(wanted) => Ok(()),
            Err(trouble) => Err(trouble),
        })
        .await;
    }
}

/// Holds a relay where it first reaches a point, until it is let go.
pub(crate) struct Hold {
    point: Point,
    reached: AtomicBool,
    go: CancellationToken,
}

impl Hold {
    pub(crate) fn at(point: Point) -> Arc<Self> {
        Arc::new(Self { point, reached: AtomicBool::new(false), go: CancellationToken::new() })
    }

    fn observer(self: &Arc<Self>) -> Observer {
        let hold = self.clone();
        Arc::new(move |point| {
            let hold = hold.clone();
            async move {
                if point == hold.point && !hold.go.is_cancelled() {
                    hold.reached.store(true, Ordering::SeqCst);
                    hold.go.cancelled().await;
                }
            }
            .boxed()
        })
    }

    pub(crate) async fn until_reached(&self) {
        eventually(&format!("the relay is at {:?}", self.point), async || {
            if self.reached.load(Ordering::SeqCst) { Ok(()) } else { Err("it is not") }
        })
        .await;
    }

    pub(crate) fn let_go(&self) {
        self.go.cancel();
    }
}

fn settings() -> RelaySettings {
    RelaySettings {
        lease: LEASE,
        tending: Duration::from_millis(200),
        message_timeout: Duration::from_secs(1),
        pause: Duration::from_millis(100),
        mark_every: 1,
        ..RelaySettings::default()
    }
}

impl Fixture {
    pub(crate) async fn new() -> Self {
        let fixture = Self::without_topic().await;
        fixture.create_topic().await;
        fixture
    }

    pub(crate) async fn without_topic() -> Self {
        Self::on(Servers::shared().await).await
    }

    /// An outbox on these servers, without a topic.
    pub(crate) async fn on(servers: &Servers) -> Self {
        let database = servers.database("orders").await.migrated().await;
        Self {
            pool: database.pool().await,
            topic: format!("relay-test-{}", Uuid::new_v4()),
            kafka: KafkaSettings { brokers: servers.kafka_brokers().to_owned() },
            admin_url: servers.postgres_url().to_owned(),
            reader: Mutex::default(),
            database,
        }
    }

    pub(crate) fn topic(&self) -> &str {
        &self.topic
    }

    /// A connection of the superuser to this database.
    pub(crate) async fn superuser(&self) -> PgConnection {
        let server: PgConnectOptions = self.admin_url.parse().unwrap();
        let own: PgConnectOptions = self.database.url().parse().unwrap();
        PgConnection::connect_with(&server.database(own.get_database().unwrap())).await.unwrap()
    }

    pub(crate) async fn create_topic(&self) {
        let topic = TopicSpec { name: self.topic.clone(), partitions: PARTITIONS, retention_ms: 3_600_000 };
        ensure_topics(&self.kafka, &[topic], PATIENCE).await.unwrap();
    }

    pub(crate) fn relay(&self) -> Running {
        self.start(settings(), |relay| relay)
    }

    pub(crate) fn relay_held(&self, hold: &Arc<Hold>) -> Running {
        self.start(settings(), |relay| relay.observed_by(hold.observer()))
    }

    /// A relay whose patience no slow machine exhausts: nothing is sent again because its acknowledgement was late.
    pub(crate) fn patient_relay(&self) -> Running {
        let (lease, message_timeout) = (PATIENCE, PATIENCE / 2);
        self.start(RelaySettings { lease, message_timeout, ..settings() }, |relay| relay)
    }

    fn start(&self, settings: RelaySettings, prepare: impl FnOnce(Relay) -> Relay) -> Running {
        let (status, shutdown) = (RelayStatus::default(), CancellationToken::new());
        let pool = outbox::connect(self.database.url(), "outbox-relay").unwrap();
        let relay = Relay::new(pool, self.kafka.clone(), settings, status.clone()).unwrap();
        let task = tokio::spawn(prepare(relay).run(shutdown.clone()));
        Running { status, shutdown, task }
    }

    /// One more event of each key.
    pub(crate) async fn insert_for_all(&self, keys: &[Uuid], sequence: i64) {
        for key in keys {
            self.insert(*key, sequence, "{}").await;
        }
    }

    pub(crate) async fn insert(&self, aggregate: Uuid, sequence: i64, payload: &str) -> Uuid {
        let mut connection = self.pool.acquire().await.unwrap();
        self.insert_in(&mut connection, aggregate, sequence, payload).await
    }

    /// The documented INSERT.
    pub(crate) async fn insert_in(
        &self,
        connection: &mut PgConnection,
        aggregate: Uuid,
        sequence: i64,
        payload: &str,
    ) -> Uuid {
        let event_id = Uuid::new_v4();
        sqlx::query(
            "INSERT INTO outbox (topic, aggregate_id, sequence, event_id, event_type, source, traceparent, payload)
             VALUES ($1, $2, $3, $4, 'ThingHappened', '/tests', $5, $6::json)",
        )
        .bind(&self.topic)
        .bind(aggregate)
        .bind(sequence)
        .bind(event_id)
        .bind(TRACEPARENT)
        .bind(payload)
        .execute(connection)
        .await
        .unwrap();
        event_id
    }

    async fn count(&self, query: &'static str) -> i64 {
        sqlx::query_scalar(query).fetch_one(&self.pool).await.unwrap()
    }

    pub(crate) async fn waiting(&self) -> i64 {
        self.count("SELECT count(*) FROM outbox").await
    }

    pub(crate) async fn blocked(&self) -> i64 {
        self.count("SELECT count(*) FROM outbox_blocked").await
    }

    pub(crate) async fn until_empty(&self) {
        self.until_empty_within(PATIENCE).await;
    }

    pub(crate) async fn until_empty_within(&self, bound: Duration) {
        within(bound, "the outbox is empty", async || match self.waiting().await {
            0 => Ok(()),
            waiting => Err(format!("{waiting} rows wait")),
        })
        .await;
    }

    pub(crate) async fn until_blocked(&self, key: Uuid) -> String {
        eventually("the key is blocked", async || {
            sqlx::query_scalar::<_, String>("SELECT reason FROM outbox_blocked WHERE aggregate_id = $1")
                .bind(key)
                .fetch_optional(&self.pool)
                .await
                .unwrap()
                .ok_or("it is not")
        })
        .await
    }

    /// The next `count` records of the topic, from where the last call ended.
    pub(crate) async fn read(&self, count: usize) -> Vec<Record> {
        let reader = self.reader.lock().unwrap().take().unwrap_or_else(|| self.reader_from_start());
        let (reader, records) = tokio::task::spawn_blocking(move || {
            let records = (0..count).map(|_| record(&next_record(&reader))).collect();
            (reader, records)
        })
        .await
        .unwrap();
        *self.reader.lock().unwrap() = Some(reader);
        records
    }

    /// Everything that is on the topic now, partition by partition.
    pub(crate) async fn read_all(&self) -> Vec<Record> {
        let reader = self.reader_from_start();
        let topic = self.topic.clone();
        tokio::task::spawn_blocking(move || {
            let total: i64 =
                (0..PARTITIONS).map(|p| reader.fetch_watermarks(&topic, p, PATIENCE).unwrap().1).sum();
            (0..total).map(|_| record(&next_record(&reader))).collect()
        })
        .await
        .unwrap()
    }

    /// The topic shows the events 1 to `last` of each key for the first time in this order; repeats may stand in between.
    pub(crate) async fn every_key_is_in_order_up_to(&self, keys: &[Uuid], last: i64) {
        let mut next: HashMap<String, i64> = keys.iter().map(|key| (key.to_string(), 1)).collect();
        for record in self.read_all().await {
            let sequence: i64 = record.headers["ce_sequence"].parse().unwrap();
            let expected = next.get_mut(&record.key).expect("a record of one of the keys");
            assert!(sequence <= *expected, "{}: {sequence} came before {expected}", record.key);
            *expected += i64::from(sequence == *expected);
        }
        assert!(next.values().all(|next| *next == last + 1), "some events did not arrive: {next:?}");
    }

    fn reader_from_start(&self) -> BaseConsumer {
        let reader: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &self.kafka.brokers)
            .set("group.id", "relay-test")
            .set("enable.auto.commit", "false")
            .create()
            .unwrap();
        let mut list = TopicPartitionList::new();
        for partition in 0..PARTITIONS {
            list.add_partition_offset(&self.topic, partition, Offset::Beginning).unwrap();
        }
        reader.assign(&list).unwrap();
        reader
    }
}

fn record(message: &BorrowedMessage<'_>) -> Record {
    let text = |bytes: Option<&[u8]>| String::from_utf8(bytes.unwrap_or_default().to_vec()).unwrap();
    let headers = message
        .headers()
        .map(|headers| headers.iter().map(|header| (header.key.to_owned(), text(header.value))).collect());
    Record {
        key: text(message.key()),
        payload: text(message.payload()),
        headers: headers.unwrap_or_default(),
    }
}
