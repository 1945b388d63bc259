//! A consumer does what the operator's word in its database says.

use std::time::Duration;

use chrono::Utc;
use messaging::consumer::ConsumerStatus;
use persistence::intake::{self, Paused};
use sqlx::PgPool;
use tokio::time::sleep;
use tracing::{info, warn};

/// How often the word is read: one row, or none.
const LOOK: Duration = Duration::from_secs(1);

/// One process of a group that follows the word.
pub(crate) struct Intake {
    pool: PgPool,
    /// Under which name this process pauses the group.
    service: &'static str,
    status: ConsumerStatus,
    /// What was last known. It holds while the database is away.
    word: Option<Paused>,
}

impl Intake {
    pub(crate) fn new(pool: PgPool, service: &'static str, status: ConsumerStatus) -> Self {
        Self { pool, service, status, word: None }
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

    async fn look(&mut self) -> Result<(), sqlx::Error> {
        match (intake::paused(&self.pool).await?, &self.word) {
            (None, None) => {
                if let Some(why) = self.status.too_many_dead_letters() {
                    // For the whole group, and for whoever starts later.
                    intake::pause(&self.pool, self.service, &why).await?;
                    self.pause(Paused { since: Utc::now(), by: self.service.to_owned(), why });
                }
            }
            (None, Some(_)) => {
                info!("the group goes on");
                self.word = None;
                self.status.control().resume();
            }
            (Some(said), known) if known.as_ref() != Some(&said) => self.pause(said),
            (Some(_), _) => {}
        }
        Ok(())
    }

    fn pause(&mut self, paused: Paused) {
        let Paused { since, by, why } = &paused;
        info!(%since, by, why, "the group is paused");
        self.status.control().pause(format!("by {by} since {}: {why}", since.format("%F %T UTC")));
        self.word = Some(paused);
    }
}
