//! Where a group reads on.

/// The offset that a group reads next of a partition with these watermarks. A group that has committed nothing begins with the oldest
/// record, and so does one whose offset the partition no longer has: retention has passed it, or Kafka has lost the records before it.
pub(crate) fn next_offset(committed: Option<i64>, (low, high): (i64, i64)) -> i64 {
    committed.filter(|next| (low..=high).contains(next)).unwrap_or(low)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_begins_with_the_oldest_record_where_its_offset_is_not_on_the_topic() {
        for (committed, next) in
            [(Some(50), 50), (Some(10), 10), (Some(95), 95), (None, 10), (Some(9), 10), (Some(100), 10)]
        {
            assert_eq!(next_offset(committed, (10, 95)), next, "{committed:?}");
        }
    }
}
