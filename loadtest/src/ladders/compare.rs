//! What was committed against what arrived.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use sqlx::PgPool;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::climb::Acknowledged;
use crate::chaos::{Example, Row};

const PAUSE: Duration = Duration::from_millis(500);
const EXAMPLES: usize = 10;

/// What the consumer noted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notes {
    /// The rungs of each ladder as they first arrived.
    pub arrivals: HashMap<Uuid, Vec<i64>>,
    /// Later deliveries: ladder, rung and the event's id.
    pub repeats: Vec<(Uuid, i64, Uuid)>,
}

/// Waits until no committed rung is missing, no longer than `patience`, and returns all notes.
pub async fn read(
    pool: &PgPool,
    committed: &HashMap<Uuid, i64>,
    patience: Duration,
) -> anyhow::Result<Notes> {
    let deadline = Instant::now() + patience;
    loop {
        let notes = read_once(pool).await;
        let complete = |notes: &Notes| compare(committed, &Acknowledged::new(), notes).missing == 0;
        if notes.as_ref().is_ok_and(complete) || Instant::now() > deadline {
            return Ok(notes?);
        }
        sleep(PAUSE).await;
    }
}

async fn read_once(pool: &PgPool) -> Result<Notes, sqlx::Error> {
    let mut notes = Notes::default();
    let arrivals: Vec<(Uuid, i64)> =
        sqlx::query_as("SELECT ladder, sequence FROM arrivals ORDER BY ladder, arrival")
            .fetch_all(pool)
            .await?;
    for (ladder, rung) in arrivals {
        notes.arrivals.entry(ladder).or_default().push(rung);
    }
    let repeats = sqlx::query_as("SELECT ladder, sequence, event_id FROM repeats ORDER BY at");
    notes.repeats = repeats.fetch_all(pool).await?;
    Ok(notes)
}

/// The first delivery of each rung came, once, and in the order in which the rungs were committed; and no rung whose commit was
/// acknowledged is gone.
pub fn compare(committed: &HashMap<Uuid, i64>, acknowledged: &Acknowledged, notes: &Notes) -> Row {
    let mut row = Row::new("ladders", "events");
    for (ladder, rung) in acknowledged {
        let height = committed.get(ladder).copied().unwrap_or_default();
        row.missing += (rung - height).max(0).cast_unsigned();
        if *rung > height {
            row.example("missing", ladder, format!("rung {rung} was acknowledged, {height} are there"));
        }
    }
    for (ladder, height) in committed {
        row.checked += height.cast_unsigned();
        let arrived = notes.arrivals.get(ladder).map_or(&[][..], Vec::as_slice);
        let mut seen = BTreeSet::new();
        for rung in arrived {
            if !(1..=*height).contains(rung) || !seen.insert(*rung) {
                row.doubled += 1;
                row.example("doubled", ladder, format!("rung {rung} once more or never written"));
            } else if seen.last() > Some(rung) {
                row.out_of_order += 1;
                row.example("out_of_order", ladder, format!("rung {rung} after rung {:?}", seen.last()));
            }
        }
        for rung in (1..=*height).filter(|rung| !seen.contains(rung)) {
            row.missing += 1;
            row.example("missing", ladder, format!("rung {rung} of {height}"));
        }
    }
    for (ladder, arrived) in notes.arrivals.iter().filter(|(ladder, _)| !committed.contains_key(ladder)) {
        row.doubled += arrived.len() as u64;
        row.example("doubled", ladder, "nobody wrote this ladder".to_owned());
    }
    row.repeated = notes.repeats.len() as u64;
    for (ladder, rung, event) in notes.repeats.iter().take(EXAMPLES) {
        row.examples.push(Example::new("repeated", ladder, format!("rung {rung} under event id {event}")));
    }
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    const LADDER: Uuid = Uuid::from_u128(1);

    /// missing, doubled, out of order of a ladder of three rungs that arrived like this.
    fn findings(arrived: &[i64]) -> [u64; 3] {
        let notes = Notes { arrivals: [(LADDER, arrived.to_vec())].into(), repeats: Vec::new() };
        let row = compare(&[(LADDER, 3)].into(), &[(LADDER, 3)].into(), &notes);
        assert_eq!(row.checked, 3);
        [row.missing, row.doubled, row.out_of_order]
    }

    #[test]
    fn rungs_that_arrive_once_and_in_their_order_are_no_finding() {
        assert_eq!(findings(&[1, 2, 3]), [0, 0, 0]);
    }

    #[test]
    fn a_rung_that_is_missing_doubled_or_out_of_order_is_a_finding_of_that_kind() {
        assert_eq!(findings(&[1, 3]), [1, 0, 0]);
        assert_eq!(findings(&[1, 2, 2, 3]), [0, 1, 0]);
        assert_eq!(findings(&[1, 3, 2]), [0, 0, 1]);
        assert_eq!(findings(&[]), [3, 0, 0]);
    }

    #[test]
    fn a_rung_or_a_ladder_that_nobody_wrote_is_an_effect_too_many() {
        assert_eq!(findings(&[1, 2, 3, 4]), [0, 1, 0]);
        let notes = Notes { arrivals: [(LADDER, vec![1])].into(), repeats: Vec::new() };
        assert_eq!(compare(&HashMap::new(), &HashMap::new(), &notes).doubled, 1);
    }

    #[test]
    fn an_acknowledged_rung_that_the_database_lost_is_missing() {
        let notes = Notes { arrivals: [(LADDER, vec![1, 2])].into(), repeats: Vec::new() };
        assert_eq!(compare(&[(LADDER, 2)].into(), &[(LADDER, 3)].into(), &notes).missing, 1);
    }

    #[test]
    fn repeats_are_listed_with_the_id_they_carried_and_are_no_finding() {
        let event = Uuid::from_u128(9);
        let notes = Notes { arrivals: [(LADDER, vec![1])].into(), repeats: vec![(LADDER, 1, event)] };
        let row = compare(&[(LADDER, 1)].into(), &HashMap::new(), &notes);
        assert_eq!((row.findings(), row.repeated), (0, 1));
        assert!(row.examples[0].detail.contains(&event.to_string()), "{:?}", row.examples);
    }
}
