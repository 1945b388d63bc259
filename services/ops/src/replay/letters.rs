//! The two topics of a group as a run sees them: the dead letters up to where they ended when it began, and the replays.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use anyhow::{Context, ensure};
use messaging::dead_letters::{self, Letter};
use messaging::reader::{ReadRecord, TopicReader};

use super::place::LetterPlace;
use super::settings::DeadLetterTopic;

/// How long Kafka may take for an answer.
const PATIENCE: Duration = Duration::from_secs(15);

/// The dead letters of one group.
pub(super) struct DeadLetters {
    source: DeadLetterTopic,
    /// The dead-letter topic.
    pub(super) name: String,
    /// The topic that gives letters back.
    pub(super) retry_topic: String,
    letters: TopicReader,
    retries: TopicReader,
    /// The first offset and the end of each partition of the dead-letter topic, as they were at the beginning.
    range: Vec<(i64, i64)>,
}

/// A record of the dead-letter topic.
pub(super) struct Found {
    pub(super) place: LetterPlace,
    pub(super) record: ReadRecord,
    /// The letter, or what is wrong with the record.
    pub(super) letter: Result<Letter, String>,
    /// The retry topic has a replay of it.
    pub(super) replayed: bool,
}

impl DeadLetters {
    /// Looks at both topics. What comes to the dead letters from now on is out of sight.
    pub(super) async fn open(source: &DeadLetterTopic) -> anyhow::Result<Self> {
        let name = dead_letters::topic(&source.topic, source.group.name());
        let retry_topic = dead_letters::retry_topic(&source.topic, source.group.name());
        let letters = TopicReader::connect(&source.kafka, &name, PATIENCE).await?;
        let retries = TopicReader::connect(&source.kafka, &retry_topic, PATIENCE).await?;
        // Before the replays are read: a letter that arrives in between must not count as one that nobody replayed.
        let range = letters.watermarks().await.with_context(|| format!("topic {name}"))?;
        Ok(Self { source: source.clone(), name, retry_topic, letters, retries, range })
    }

    /// Refuses a place that no letter is at.
    pub(super) fn check(&self, place: LetterPlace) -> anyhow::Result<()> {
        let name = &self.name;
        let partitions = self.range.len();
        let range = self.range.get(place.partition);
        let (first, end) =
            *range.with_context(|| format!("no letter {place}: {name} has {partitions} partitions"))?;
        ensure!(first < end, "no letter {place}: partition {} of {name} is empty", place.partition);
        ensure!(
            place.offset >= first,
            "no letter {place}: retention has left those from {first} on in {name}"
        );
        ensure!(
            place.offset < end,
            "no letter {place}: the last one in that partition of {name} is {}",
            end - 1
        );
        Ok(())
    }

    /// Every record of the dead-letter topic, in the order of each partition.
    pub(super) async fn scan(&self, mut each: impl FnMut(Found) -> anyhow::Result<()>) -> anyhow::Result<()> {
        let replayed = self.replayed().await?;
        let (from, to): (Vec<i64>, Vec<i64>) = self.range.iter().copied().unzip();
        let mut records = self.letters.read(&from, &to);
        while let Some(batch) = records.recv().await {
            for record in batch.with_context(|| format!("topic {}", self.name))? {
                let place = LetterPlace::of(&record);
                each(Found {
                    place,
                    letter: self.read(&record),
                    replayed: replayed.contains(&place),
                    record,
                })?;
            }
        }
        Ok(())
    }

    /// The letters at these places. Those that retention has removed meanwhile are not among them.
    pub(super) async fn fetch(
        &self,
        places: impl Iterator<Item = LetterPlace>,
    ) -> anyhow::Result<HashMap<LetterPlace, Found>> {
        let mut wanted: HashSet<LetterPlace> = places.collect();
        let mut from = vec![i64::MAX; self.range.len()];
        let mut to = vec![0; self.range.len()];
        for place in &wanted {
            if let (Some(from), Some(to)) = (from.get_mut(place.partition), to.get_mut(place.partition)) {
                (*from, *to) = (place.offset.min(*from), (place.offset + 1).max(*to));
            }
        }
        let mut found = HashMap::with_capacity(wanted.len());
        let mut records = self.letters.read(&from, &to);
        while let Some(batch) = records.recv().await {
            for record in batch.with_context(|| format!("topic {}", self.name))? {
                let place = LetterPlace::of(&record);
                if wanted.remove(&place) {
                    let letter = self.read(&record);
                    found.insert(place, Found { place, letter, replayed: false, record });
                }
            }
        }
        Ok(found)
    }

    /// The replays of one letter that the retry topic still has.
    pub(super) async fn replays_of(&self, place: LetterPlace) -> anyhow::Result<Vec<ReadRecord>> {
        let mut replays = Vec::new();
        self.each_replay(|of, record| {
            if of == place {
                replays.push(ReadRecord { payload: Vec::new(), ..record });
            }
        })
        .await?;
        Ok(replays)
    }

    /// Which letters in sight were replayed: an entry of some bytes for each of them.
    async fn replayed(&self) -> anyhow::Result<HashSet<LetterPlace>> {
        let mut replayed = HashSet::new();
        self.each_replay(|place, _| {
            if self.check(place).is_ok() {
                replayed.insert(place);
            }
        })
        .await?;
        Ok(replayed)
    }

    async fn each_replay(&self, mut each: impl FnMut(LetterPlace, ReadRecord)) -> anyhow::Result<()> {
        let context = || format!("topic {}", self.retry_topic);
        let (from, to): (Vec<i64>, Vec<i64>) =
            self.retries.watermarks().await.with_context(context)?.into_iter().unzip();
        let mut records = self.retries.read(&from, &to);
        while let Some(batch) = records.recv().await {
            for record in batch.with_context(context)? {
                if let Some((partition, offset)) = dead_letters::replayed(&record) {
                    each(LetterPlace { partition, offset }, record);
                }
            }
        }
        Ok(())
    }

    /// A letter names the topic and the group that it goes back to. Another's would reach whom nobody asked for.
    fn read(&self, record: &ReadRecord) -> Result<Letter, String> {
        let letter = Letter::read(record).map_err(|error| format!("not a dead letter: {error}"))?;
        let (topic, group) = (&self.source.topic, self.source.group.name());
        if letter.source_topic != *topic || letter.handler != group {
            let (its_topic, its_group) = (&letter.source_topic, &letter.handler);
            return Err(format!(
                "not a dead letter of {group} about {topic}: of {its_group} about {its_topic}"
            ));
        }
        Ok(letter)
    }
}
