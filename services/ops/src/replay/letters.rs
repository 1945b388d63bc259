//! The two topics of a group as a run sees them: the dead letters up to where they ended when it began, and the replays.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use anyhow::{Context, ensure};
use messaging::dead_letters::{self, Letter};
use messaging::reader::{ReadRecord, TopicReader};

use super::place::LetterPlace;
use super::settings::DeadLetterTopic;
use crate::replays::{Replays, may_be_of};

/// How long Kafka may take for an answer.
const PATIENCE: Duration = Duration::from_secs(15);

/// Records between two letters that are rather read over than left out by a reading of its own.
const READ_OVER: i64 = 5000;

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
                each(Found { place, letter: self.read(&record), replayed: replayed.has(&record), record })?;
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
        let mut found = HashMap::with_capacity(wanted.len());
        for (from, to) in stretches(&wanted, self.range.len()) {
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
        }
        Ok(found)
    }

    /// The replays of one letter that the retry topic still has.
    pub(super) async fn replays_of(&self, letter: &ReadRecord) -> anyhow::Result<Vec<ReadRecord>> {
        let mut replays = Vec::new();
        self.each_replay(|record| {
            let of = dead_letters::replayed(&record);
            if of == Some((letter.partition, letter.offset))
                && may_be_of(record.timestamp_ms, letter.timestamp_ms)
            {
                replays.push(ReadRecord { payload: Vec::new(), ..record });
            }
        })
        .await?;
        Ok(replays)
    }

    /// Which letters in sight were replayed.
    async fn replayed(&self) -> anyhow::Result<Replays> {
        let mut replayed = Replays::default();
        let in_sight = |partition, offset| self.check(LetterPlace { partition, offset }).is_ok();
        self.each_replay(|record| replayed.note(&record, in_sight)).await?;
        Ok(replayed)
    }

    async fn each_replay(&self, mut each: impl FnMut(ReadRecord)) -> anyhow::Result<()> {
        let context = || format!("topic {}", self.retry_topic);
        let (from, to): (Vec<i64>, Vec<i64>) =
            self.retries.watermarks().await.with_context(context)?.into_iter().unzip();
        let mut records = self.retries.read(&from, &to);
        while let Some(batch) = records.recv().await {
            batch.with_context(context)?.into_iter().for_each(&mut each);
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

/// What to read, one after another, to get at these places: first offset and end of each partition. Old and new letters may be asked for
/// together, and what lies between them is not read.
fn stretches(places: &HashSet<LetterPlace>, partitions: usize) -> Vec<(Vec<i64>, Vec<i64>)> {
    let mut places: Vec<LetterPlace> = places.iter().copied().collect();
    places.sort_unstable();
    let mut stretches: Vec<(Vec<i64>, Vec<i64>)> = Vec::new();
    let (mut stretch, mut before): (usize, Option<LetterPlace>) = (0, None);
    for place in places {
        stretch = match before {
            Some(before) if before.partition != place.partition => 0,
            Some(before) if place.offset - before.offset > READ_OVER => stretch + 1,
            _ => stretch,
        };
        if stretches.len() == stretch {
            stretches.push((vec![0; partitions], vec![0; partitions]));
        }
        if let Some((from, to)) = stretches.get_mut(stretch)
            && let (Some(from), Some(to)) = (from.get_mut(place.partition), to.get_mut(place.partition))
        {
            // Nothing of the partition is in the stretch yet.
            if *to == 0 {
                *from = place.offset;
            }
            *to = place.offset + 1;
        }
        before = Some(place);
    }
    stretches
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(places: &[(usize, i64)]) -> Vec<(Vec<i64>, Vec<i64>)> {
        let place =
            |(partition, offset): &(usize, i64)| LetterPlace { partition: *partition, offset: *offset };
        stretches(&places.iter().map(place).collect(), 3)
    }

    #[test]
    fn letters_that_lie_far_apart_are_fetched_without_what_lies_between_them() {
        let far = 10 * READ_OVER;
        assert_eq!(read(&[]), []);
        assert_eq!(read(&[(1, 7), (1, 9), (2, 0)]), [(vec![0, 7, 0], vec![0, 10, 1])]);
        assert_eq!(
            read(&[(0, far), (0, 3), (0, far + 2), (1, 5), (2, 9), (2, far)]),
            [(vec![3, 5, 9], vec![4, 6, 10]), (vec![far, 0, far], vec![far + 3, 0, far + 1])]
        );
        assert_eq!(read(&[(0, 0), (0, READ_OVER), (0, 2 * READ_OVER)]).len(), 1);
    }
}
