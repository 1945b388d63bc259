//! Which letter: its place in the dead-letter topic.

use std::fmt;
use std::str::FromStr;

use messaging::reader::ReadRecord;
use serde::{Serialize, Serializer};

/// Partition and offset in the dead-letter topic, written as `3/17`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LetterPlace {
    /// Partition.
    pub partition: usize,
    /// Offset in it.
    pub offset: i64,
}

impl LetterPlace {
    pub(super) fn of(record: &ReadRecord) -> Self {
        Self { partition: record.partition, offset: record.offset }
    }
}

impl FromStr for LetterPlace {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let place = text.split_once('/').and_then(|(partition, offset)| {
            let (partition, offset): (u16, u64) = (partition.parse().ok()?, offset.parse().ok()?);
            Some(Self { partition: partition.into(), offset: i64::try_from(offset).ok()? })
        });
        place.ok_or_else(|| {
            "expected partition/offset as `ops replay list` shows them, such as 3/17".to_owned()
        })
    }
}

impl fmt::Display for LetterPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}/{}", self.partition, self.offset))
    }
}

impl Serialize for LetterPlace {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_as_it_is_shown_and_nothing_else_is_one() {
        assert_eq!("3/17".parse(), Ok(LetterPlace { partition: 3, offset: 17 }));
        assert_eq!("3/17".parse::<LetterPlace>().unwrap().to_string(), "3/17");
        for wrong in ["", "3", "3/", "/17", "3/-1", "3/17/1", "3:17", "70000/1", "3/9223372036854775808"] {
            assert!(wrong.parse::<LetterPlace>().unwrap_err().contains("such as 3/17"), "{wrong}");
        }
    }
}
