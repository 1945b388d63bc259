//! `ops replay run`.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::time::Duration;

use anyhow::{Context, bail};
use messaging::dead_letters::Letter;
use messaging::{OutgoingRecord, Producer, PublishError};

use super::filter::Traits;
use super::follow::Progress;
use super::letters::{DeadLetters, Found};
use super::pace::Pace;
use super::place::LetterPlace;
use super::plan::{Candidate, Left, Rules, Selection, Selector, fetched_together, sent_together};
use super::settings::RunSettings;
use super::text;

/// How long Kafka may take to acknowledge a letter.
const ACKNOWLEDGED: Duration = Duration::from_secs(15);
/// What the reason of an event begins with that the inbox may have forgotten.
const BEYOND_HORIZON: &str = "beyond-horizon";
/// Characters shown of a key and of a reason.
const KEY: usize = 36;
const REASON: usize = 80;

pub(super) async fn run(settings: &RunSettings) -> anyhow::Result<()> {
    let letters = DeadLetters::open(&settings.source).await?;
    for place in settings.filters.letters.iter().chain(&settings.filters.except) {
        letters.check(*place)?;
    }
    let (selection, unreadable) = select(settings, &letters).await?;
    let mut progress = Progress::new(selection.send.len(), settings.rate);
    let outcome = if settings.dry_run {
        print_all(&letters, &selection.send).await
    } else {
        send_all(settings, &letters, &selection.send, &mut progress).await
    };
    summarise(settings, &letters, &selection, unreadable, &progress);
    outcome.with_context(|| {
        let left = selection.send.len() - progress.sent - progress.gone;
        format!(
            "stopped after {} letters, {left} are still to be sent; the same command goes on there",
            progress.sent
        )
    })
}

/// Looks at every letter, and decides. Also returns how many cannot be read.
async fn select(settings: &RunSettings, letters: &DeadLetters) -> anyhow::Result<(Selection, u64)> {
    let mut unreadable = 0;
    let mut selector = Selector::new(Rules {
        again: settings.again,
        beyond_horizon: settings.beyond_horizon,
        max_replays: settings.max_replays,
        limit: settings.limit.map(NonZeroUsize::get),
    });
    letters
        .scan(|Found { place, record, letter, replayed }| {
            let Ok(letter) = letter else {
                unreadable += 1;
                return Ok(());
            };
            let Letter { key, reason, at, .. } = &letter;
            let passes = settings.filters.pass(&Traits { place, key, reason, at: *at });
            selector.offer(Candidate {
                place,
                source: (letter.source_partition, letter.source_offset),
                replays: letter.replays,
                payload_bytes: record.payload.len(),
                held: letter.held,
                beyond_horizon: reason.starts_with(BEYOND_HORIZON),
                replayed,
                passes,
                excepted: settings.filters.except.contains(&place),
                key: letter.key,
            })
        })
        .await?;
    Ok((selector.select(), unreadable))
}

async fn send_all(
    settings: &RunSettings,
    letters: &DeadLetters,
    mut rest: &[Candidate],
    progress: &mut Progress,
) -> anyhow::Result<()> {
    let producer = Producer::for_letters(&settings.source.kafka, "ops replay", ACKNOWLEDGED)?;
    let mut pace = Pace::new(settings.rate);
    let mut interrupted = std::pin::pin!(tokio::signal::ctrl_c());
    while !rest.is_empty() {
        let (mut chunk, later) = rest.split_at(fetched_together(rest));
        rest = later;
        let mut fetched = letters.fetch(chunk.iter().map(|letter| letter.place)).await?;
        while !chunk.is_empty() {
            let (batch, others) = chunk.split_at(sent_together(chunk, pace.batch));
            chunk = others;
            tokio::select! {
                // What is on its way is waited for, and nothing more is sent.
                biased;
                _ = &mut interrupted => bail!("interrupted"),
                () = pace.wait_for(batch.len()) => {}
            }
            let (places, records) = take(&mut fetched, batch);
            progress.gone += batch.len() - records.len();
            send(&producer, &places, records, progress).await?;
            if let Some(line) = progress.line() {
                eprintln!("{line}");
            }
        }
    }
    Ok(())
}

/// The records of a batch, as far as its letters are still there.
fn take(
    fetched: &mut HashMap<LetterPlace, Found>,
    batch: &[Candidate],
) -> (Vec<LetterPlace>, Vec<OutgoingRecord>) {
    let letters = batch.iter().filter_map(|candidate| {
        let letter = fetched.remove(&candidate.place)?.letter.ok()?;
        Some((candidate.place, letter.replay(candidate.beyond_horizon)))
    });
    letters.unzip()
}

/// Sends a batch, waits for every acknowledgement, and fails with the first letter that got none.
async fn send(
    producer: &Producer,
    places: &[LetterPlace],
    records: Vec<OutgoingRecord>,
    progress: &mut Progress,
) -> anyhow::Result<()> {
    let outcomes = producer.publish(records.clone()).await;
    progress.sent += outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    let alone = records.len() == 1;
    for ((place, record), outcome) in places.iter().zip(records).zip(outcomes) {
        match outcome {
            // Perhaps for the sake of a neighbour: Kafka refuses a batch as a whole.
            Err(PublishError::Refused(_)) if !alone => {
                producer.publish_one(record).await.with_context(|| format!("letter {place}"))?;
                progress.sent += 1;
            }
            outcome => outcome.with_context(|| format!("letter {place}"))?,
        }
    }
    Ok(())
}

/// The dry run: everything but the sending.
async fn print_all(letters: &DeadLetters, mut rest: &[Candidate]) -> anyhow::Result<()> {
    while !rest.is_empty() {
        let (chunk, later) = rest.split_at(fetched_together(rest));
        rest = later;
        let fetched = letters.fetch(chunk.iter().map(|letter| letter.place)).await?;
        for candidate in chunk {
            let Some(Found { letter: Ok(letter), .. }) = fetched.get(&candidate.place) else { continue };
            let along = if candidate.passes { "" } else { " (its key is held)" };
            println!(
                "would send {:<12} {:<KEY$}  replay {}, from {}/{}: {}{along}",
                candidate.place,
                text::bytes(&letter.key, KEY),
                letter.replays + 1,
                letter.source_partition,
                letter.source_offset,
                text::line(&letter.reason, REASON)
            );
        }
    }
    Ok(())
}

fn summarise(
    settings: &RunSettings,
    letters: &DeadLetters,
    selection: &Selection,
    unreadable: u64,
    progress: &Progress,
) {
    let Selection { send, left, went_along } = selection;
    let (retry_topic, group) = (&letters.retry_topic, settings.source.group);
    if settings.dry_run {
        println!("dry run: {} letters would be sent to {retry_topic}, none was", send.len());
    } else if send.is_empty() {
        println!("nothing to send from {}", letters.name);
    } else {
        println!("{} of {} letters sent to {retry_topic}", progress.sent, send.len());
    }
    if *went_along > 0 {
        println!("{went_along} of them are outside the filters: a held key goes whole");
    }
    let Left { filtered, replayed, outdated, loop_guard, beyond_horizon, held, limit } = *left;
    for (letters, why) in [
        (filtered, "outside the filters"),
        (replayed, "replayed before (--again sends them once more)"),
        (outdated, "there is a later letter about the same record"),
        (
            loop_guard,
            "failed at every replay so far (--max-replays): look at one with `ops replay show`, mend the cause first",
        ),
        (
            beyond_horizon,
            "beyond the horizon: the inbox has forgotten whether they were applied (look, then --beyond-horizon with --key, or --letter for each)",
        ),
        (held, "their key is held, and another of its letters is left out"),
        (limit, "over the limit (--limit); a held key goes whole or waits"),
        (unreadable, "unreadable: no letters of this group"),
        (progress.gone as u64, "removed by retention meanwhile"),
    ] {
        if letters > 0 {
            println!("left out: {letters} {why}");
        }
    }
    if progress.sent > 0 {
        println!(
            "What fails again comes back as a new letter: `ops replay list {group} --waiting`. `ops audit` says what still waits."
        );
    }
}
