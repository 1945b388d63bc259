//! The records of the parts that only sleep: which one of its key it is, and how long it takes.

use std::time::Duration;

use messaging::OutgoingRecord;

/// One piece of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ticket {
    pub(super) key: u32,
    /// 0 for the first of its key.
    pub(super) number: u32,
    pub(super) work_us: u32,
}

impl Ticket {
    pub(super) fn work(self) -> Duration {
        Duration::from_micros(self.work_us.into())
    }

    pub(super) fn record(self, topic: &str) -> OutgoingRecord {
        let numbers = [self.key, self.number, self.work_us];
        let payload: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        OutgoingRecord::new(topic, format!("key-{}", self.key), payload)
    }

    /// Reads what [`Self::record`] wrote.
    pub(super) fn read(payload: &[u8]) -> Result<Option<Self>, &'static str> {
        let (numbers, rest) = payload.as_chunks::<4>();
        match (numbers, rest) {
            ([key, number, work_us], []) => Ok(Some(Self {
                key: u32::from_le_bytes(*key),
                number: u32::from_le_bytes(*number),
                work_us: u32::from_le_bytes(*work_us),
            })),
            _ => Err("not a ticket"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_read_as_it_was_written() {
        let ticket = Ticket { key: 7, number: 70_000, work_us: 4_999 };
        let record = ticket.record("topic");
        assert_eq!(Ticket::read(&record.payload.unwrap()), Ok(Some(ticket)));
        assert!(Ticket::read(b"short").is_err());
    }
}
