//! Topics of one test, and the command.

use std::process::{Command, Output};

use contracts::topics::{ANALYTICS_GROUP, EMAIL_GROUP, INVENTORY_GROUP, SMS_GROUP};
use messaging::dead_letters::{retry_topic, topic};
use messaging::headers::dead_letter;
use messaging::reader::{ReadRecord, TopicReader};
use messaging::{KafkaSettings, OutgoingRecord, Producer, TopicSpec, ensure_topics};
use serde_json::Value;
use testkit::{PATIENCE, Servers, eventually};
use uuid::Uuid;

const PARTITIONS: i32 = 3;
pub(crate) const GROUP: &str = EMAIL_GROUP;
const GROUPS: [&str; 4] = [EMAIL_GROUP, SMS_GROUP, INVENTORY_GROUP, ANALYTICS_GROUP];

/// A source topic, and the retry and dead-letter topics of every group.
pub(crate) struct Fixture {
    pub(crate) kafka: KafkaSettings,
    pub(crate) topic: String,
}

/// What the command said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }
}

impl Said {
    /// A run that went well has said this.
    #[track_caller]
    pub(crate) fn says(self, parts: &[&str]) -> Self {
        assert_eq!(self.code, Some(0), "{self:?}");
        for part in parts {
            assert!(self.out.contains(part), "no {part:?} in:\n{}", self.out);
        }
        self
    }

    /// It failed, and said why.
    #[track_caller]
    pub(crate) fn complains(self, parts: &[&str]) -> Self {
        assert_eq!(self.code, Some(1), "{self:?}");
        for part in parts {
            assert!(self.err.contains(part), "no {part:?} in:\n{}", self.err);
        }
        self
    }
}

impl Fixture {
    pub(crate) async fn new() -> Self {
        let kafka = KafkaSettings { brokers: Servers::shared().await.kafka_brokers().to_owned() };
        let source = format!("replay-test-{}", Uuid::new_v4().simple());
        let names = GROUPS.iter().flat_map(|group| [topic(&source, group), retry_topic(&source, group)]);
        let names = names.chain([source.clone()]);
        let specs: Vec<TopicSpec> =
            names.map(|name| TopicSpec { name, partitions: PARTITIONS, retention_ms: 3_600_000 }).collect();
        ensure_topics(&kafka, &specs, PATIENCE).await.unwrap();
        for topic in &specs {
            eventually("leaders for the new topics", async || {
                TopicReader::connect(&kafka, &topic.name, PATIENCE).await?.watermarks().await
            })
            .await;
        }
        Self { kafka, topic: source }
    }

    /// The letter that the group writes about the record at `offset` of partition 0.
    pub(crate) fn letter(&self, key: &str, offset: i64, reason: &str) -> OutgoingRecord {
        OutgoingRecord::new(topic(&self.topic, GROUP), key, format!(r#"{{"offset":{offset}}}"#))
            .header("ce_type", "ThingHappened")
            .header("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
            .header(dead_letter::SOURCE_TOPIC, &self.topic)
            .header(dead_letter::SOURCE_PARTITION, "0")
            .header(dead_letter::SOURCE_OFFSET, &offset.to_string())
            .header(dead_letter::KEY, key)
            .header(dead_letter::HANDLER, GROUP)
            .header(dead_letter::REASON, reason)
            .header(dead_letter::ATTEMPTS, "5")
    }

    /// Puts records on their topics, in the order given.
    pub(crate) async fn write(&self, records: Vec<OutgoingRecord>) {
        let producer = Producer::new(&self.kafka, "replay-test", PATIENCE).unwrap();
        for record in records {
            producer.publish_one(record).await.unwrap();
        }
    }

    /// `ops replay COMMAND GROUP ..` with these arguments.
    pub(crate) fn command(&self, command: &str, arguments: &[&str]) -> Command {
        let mut ops = Command::new(env!("CARGO_BIN_EXE_ops"));
        ops.args(["replay", command, GROUP]).args(arguments).args(["--topic", &self.topic]);
        ops.env("KAFKA_BROKERS", &self.kafka.brokers);
        ops
    }

    pub(crate) async fn ops(&self, command: &str, arguments: &[&str]) -> Said {
        let mut command = self.command(command, arguments);
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap().into()
    }

    /// What `list --json` says with these filters.
    pub(crate) async fn list(&self, arguments: &[&str]) -> Value {
        let said = self.ops("list", &[arguments, &["--json"]].concat()).await.says(&[]);
        serde_json::from_str(&said.out).unwrap()
    }

    /// The place of the only letter with this reason.
    pub(crate) async fn place(&self, reason: &str) -> String {
        let found = self.list(&["--reason", reason]).await;
        assert_eq!(found["found"], 1, "{found}");
        found["letters"][0]["letter"].as_str().unwrap().to_owned()
    }

    /// What was given back to the group.
    pub(crate) async fn retried(&self) -> Vec<ReadRecord> {
        self.read(&retry_topic(&self.topic, GROUP)).await
    }

    /// Records on the source topic and on the retry topics of the other groups.
    pub(crate) async fn strayed(&self) -> usize {
        let mut records = self.read(&self.topic).await.len();
        for group in GROUPS.iter().filter(|group| **group != GROUP) {
            records += self.read(&retry_topic(&self.topic, group)).await.len();
        }
        records
    }

    async fn read(&self, topic: &str) -> Vec<ReadRecord> {
        let reader = TopicReader::connect(&self.kafka, topic, PATIENCE).await.unwrap();
        let (from, to): (Vec<i64>, Vec<i64>) = reader.watermarks().await.unwrap().into_iter().unzip();
        let mut batches = reader.read(&from, &to);
        let mut records = Vec::new();
        while let Some(batch) = batches.recv().await {
            records.extend(batch.unwrap());
        }
        records
    }
}
