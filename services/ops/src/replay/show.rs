//! `ops replay show`.

use anyhow::Context;
use messaging::headers;

use super::letters::{DeadLetters, Found};
use super::settings::ShowSettings;
use super::text;

/// Characters shown of a single value.
const VALUE: usize = 4000;

pub(super) async fn show(settings: &ShowSettings) -> anyhow::Result<()> {
    let (place, group) = (settings.letter, settings.source.group);
    let letters = DeadLetters::open(&settings.source).await?;
    letters.check(place)?;
    let mut fetched = letters.fetch(std::iter::once(place)).await?;
    let Found { record, letter, .. } = fetched
        .remove(&place)
        .with_context(|| format!("no letter {place}: retention has just removed it"))?;
    let replays = letters.replays_of(&record).await?;

    println!("letter       {place} in {}", letters.name);
    println!("written at   {}", text::moment(record.timestamp_ms));
    println!("key          {}", text::bytes(&record.key, VALUE));
    match &letter {
        Ok(letter) => {
            println!(
                "from         {} {}/{}",
                letter.source_topic, letter.source_partition, letter.source_offset
            );
            println!("group        {group}");
            println!("reason       {}", text::line(&letter.reason, VALUE));
            println!("tried        {} times, replayed {} times before", letter.attempts, letter.replays);
            println!(
                "key is held  {}",
                if letter.held { "yes: its letters are replayed together" } else { "no" }
            );
            println!("trace        {}", letter.traceparent.as_deref().and_then(trace_id).unwrap_or("none"));
        }
        Err(wrong) => println!("unreadable   {}: it cannot be replayed", text::line(wrong, VALUE)),
    }
    if replays.is_empty() {
        println!("state        waiting (no replay in {})", letters.retry_topic);
    }
    for replay in &replays {
        let (at, place) =
            (text::moment(replay.timestamp_ms), format!("{}/{}", replay.partition, replay.offset));
        println!("state        replayed at {at}, as {place} in {}", letters.retry_topic);
    }
    println!("headers");
    for (name, value) in record.headers.iter().flat_map(headers::all) {
        println!("  {}: {}", text::line(name, VALUE), text::bytes(value.unwrap_or_default(), VALUE));
    }
    println!("payload      {} bytes\n{}", record.payload.len(), text::payload(&record.payload));
    Ok(())
}

/// The trace in a `traceparent`: version, trace, span, flags.
fn trace_id(traceparent: &str) -> Option<&str> {
    traceparent.split('-').nth(1)
}
