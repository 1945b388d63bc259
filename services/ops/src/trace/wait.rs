//! Looking once, or until the trace is complete.

use std::time::Duration;

use tokio::time::Instant;

use super::jaeger::{Jaeger, JaegerError};
use super::progress::{Missing, Progress};
use super::story::Story;

/// How often we look.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// What the last look saw.
pub(super) struct Seen {
    pub(super) story: Option<Story>,
    pub(super) progress: Progress,
}

pub(super) async fn look(jaeger: &Jaeger, trace: &str) -> Result<Seen, JaegerError> {
    let story = jaeger.story(trace).await?;
    let progress =
        story.as_ref().map_or_else(|| Progress::of(&Story::new(trace, Vec::new(), Vec::new())), Progress::of);
    Ok(Seen { story, progress })
}

/// Looks until nothing is missing and nothing was added since the look before: spans of one process arrive in several exports, so that the
/// last effect may be there before what belongs to it. Gives up when the time is over, and returns what is there.
pub(super) async fn until_complete(
    jaeger: &Jaeger,
    trace: &str,
    patience: Duration,
) -> Result<Seen, JaegerError> {
    let deadline = Instant::now() + patience;
    let mut before = None;
    loop {
        let mut seen = look(jaeger, trace).await?;
        let spans = seen.story.as_ref().map(|story| story.spans.len());
        let settled = before == spans;
        if seen.progress.is_complete() && settled {
            return Ok(seen);
        }
        if Instant::now() + LOOK_EVERY > deadline {
            if !settled {
                seen.progress.missing.push(Missing::Rest);
            }
            return Ok(seen);
        }
        before = spans;
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
