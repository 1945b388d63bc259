//! What a statement could see.

/// More transactions than any server runs at once: what says so is not to be believed.
const TOO_MANY: u64 = 1 << 20;

/// The snapshot of a statement: whose rows it could not see.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The first transaction id that was not yet given out when the statement ran.
    pub next: u64,
    /// Transactions that may have been in progress: what they wrote was invisible. Ascending.
    pub open: Vec<u64>,
}

impl Snapshot {
    /// Reads `xmin:xmax:xip,..+ahead`: Postgres' text form, and how many transaction ids from xmax on were given out.
    ///
    /// Those are not in the list of Postgres: it ends at the last transaction that was completed. They are in progress all the same.
    pub fn parse(text: &str) -> Option<Self> {
        let (snapshot, ahead) = text.split_once('+')?;
        let mut parts = snapshot.split(':');
        let (_, xmax, open) = (parts.next()?, parts.next()?.parse::<u64>().ok()?, parts.next()?);
        let ahead: u64 = ahead.parse().ok().filter(|ahead| *ahead < TOO_MANY)?;
        let mut open: Vec<u64> =
            open.split(',').filter(|id| !id.is_empty()).map(str::parse).collect::<Result<_, _>>().ok()?;
        open.sort_unstable();
        open.extend(xmax..xmax + ahead);
        Some(Self { next: xmax + ahead, open })
    }

    /// Whether `transaction`, which had begun before, was still in progress.
    pub fn has_open(&self, transaction: u64) -> bool {
        self.open.binary_search(&transaction).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transactions_in_progress_are_those_listed_and_those_begun_after_the_last_that_was_completed() {
        let snapshot = Snapshot::parse("10:20:10,14+2").unwrap();
        assert_eq!((snapshot.next, snapshot.open.as_slice()), (22, [10, 14, 20, 21].as_slice()));
        assert!(snapshot.has_open(14) && snapshot.has_open(21) && !snapshot.has_open(11));
        assert_eq!(Snapshot::parse("10:10:+0"), Some(Snapshot { next: 10, open: vec![] }));
        for wrong in ["nonsense", "10:10:", "10:10:+2147483647", "10:20:x+0"] {
            assert_eq!(Snapshot::parse(wrong), None, "{wrong}");
        }
    }
}
