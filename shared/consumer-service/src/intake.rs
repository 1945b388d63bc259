//! A consumer does what the operator's word in its database says.

use std::time::Duration;

use anyhow::Context;
use messaging::consumer::ConsumerStatus;
use persistence::intake::{self, Paused};
use sqlx::PgPool;
use tokio::time::sleep;
use tracing::{info, warn};

/// How often the word is read: one row, or none.
const LOOK: Duration = Duration::from_secs(1);
/// A database that takes longer to answer is away.
const PATIENCE: Duration = Duration::from_secs(10);

/// One process of a group that follows the word.
pub(crate) struct Intake {
    pool: PgPool,
    /// Under which name this process pauses the group.
    service: &'static str,
    status: ConsumerStatus,
    /// What was last known. It holds while the database is away.
    known: Known,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Known {
    /// The group goes on.
    #[default]
    Nothing,
    /// This process has just paused the group, and is still a member.
    Said,
    /// The group is paused, and this process has left it.
    Paused(Paused),
}

/// What a look leads to.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Stay,
    /// Pause the group, and keep the partitions for now: who got them at once would not know of the pause yet, and write as many dead letters again.
    Say(String),
    Leave(Paused),
    GoOn,
}

/// `said`: the word as it stands in the database. `too_many`: why this process handles nothing more by itself.
fn step(said: Option<Paused>, known: &Known, too_many: Option<String>) -> Step {
    match (said, known) {
        (None, Known::Nothing) => too_many.map_or(Step::Stay, Step::Say),
        (None, Known::Said | Known::Paused(_)) => Step::GoOn,
        (Some(said), Known::Paused(known)) if said == *known => Step::Stay,
        (Some(said), _) => Step::Leave(said),
    }
}

impl Intake {
    pub(crate) fn new(pool: PgPool, service: &'static str, status: ConsumerStatus) -> Self {
        Self { pool, service, status, known: Known::default() }
    }

    /// Waits for the first word. Before it the consumer must not join: the group may be paused.
    pub(crate) async fn first_word(&mut self) {
        let mut waiting = false;
        while let Err(error) = self.look().await {
            if !waiting {
                warn!(%error, "cannot read whether the group is paused, waiting");
                waiting = true;
            }
            sleep(LOOK).await;
        }
    }

    pub(crate) async fn follow(&mut self) {
        let mut failing = false;
        loop {
            sleep(LOOK).await;
            let looked = self.look().await;
            if let (Err(error), false) = (&looked, failing) {
                warn!(%error, "cannot read whether the group is paused, the last word holds");
            }
            failing = looked.is_err();
        }
    }

    async fn look(&mut self) -> anyhow::Result<()> {
        tokio::time::timeout(PATIENCE, self.follow_word())
            .await
            .with_context(|| format!("no answer within {PATIENCE:?}"))?
            .map_err(Into::into)
    }

    async fn follow_word(&mut self) -> Result<(), sqlx::Error> {
        let said = intake::paused(&self.pool).await?;
        match step(said, &self.known, self.status.too_many_dead_letters()) {
            Step::Stay => {}
            Step::Say(why) => {
                // For the whole group, and for whoever starts later. The next look finds it, when the others have as well.
                intake::pause(&self.pool, self.service, &why).await?;
                self.known = Known::Said;
            }
            Step::Leave(paused) => {
                let Paused { since, by, why } = &paused;
                info!(%since, by, why, "the group is paused");
                self.status.control().pause(format!("by {by} since {}: {why}", since.format("%F %T UTC")));
                self.known = Known::Paused(paused);
            }
            Step::GoOn => {
                info!("the group goes on");
                self.known = Known::Nothing;
                self.status.control().resume();
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use chrono::Utc;

    use super::*;

    fn word(why: &str) -> Paused {
        Paused { since: Utc::now(), by: "ann".to_owned(), why: why.to_owned() }
    }

    #[test]
    fn a_process_that_pauses_its_group_leaves_only_at_the_next_look_when_the_others_have_read_the_word() {
        let too_many = Some("too many".to_owned());
        assert_eq!(step(None, &Known::Nothing, too_many.clone()), Step::Say("too many".to_owned()));
        let said = word("too many");
        assert_eq!(step(Some(said.clone()), &Known::Said, too_many.clone()), Step::Leave(said));
        assert_eq!(step(None, &Known::Said, too_many), Step::GoOn, "an operator was quicker");
    }

    #[test]
    fn a_word_is_followed_once_and_a_new_one_again() {
        let (first, second) = (word("first"), word("second"));
        assert_eq!(step(None, &Known::Nothing, None), Step::Stay);
        assert_eq!(step(Some(first.clone()), &Known::Nothing, None), Step::Leave(first.clone()));
        let known = Known::Paused(first.clone());
        assert_eq!(step(Some(first), &known, Some("too many".to_owned())), Step::Stay);
        assert_eq!(step(Some(second.clone()), &known, None), Step::Leave(second));
        assert_eq!(step(None, &known, None), Step::GoOn);
    }
}
