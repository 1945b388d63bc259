//! Where a group reads on.

/// The offset that a group reads next of a partition with these watermarks. A group that has committed nothing begins with the oldest
/// record, and so does one whose offset the partition no longer has: retention has passed it, or Kafka has lost the records before it.
pub fn next_offset(committed: Option<i64>, (low, high): (i64, i64)) -> i64 {
    committed.filter(|next| (low..=high).contains(next)).unwrap_or(low)
}

/// The same for every partition. The watermarks have to be taken after the offsets, or an offset can lie beyond the end.
pub fn next_offsets(committed: &[Option<i64>], watermarks: &[(i64, i64)]) -> Vec<i64> {
    committed.iter().zip(watermarks).map(|(next, watermarks)| next_offset(*next, *watermarks)).collect()
}

/// How many records lie between what a group reads next and `ends`, watermarks taken at some time. What it has read beyond them does not make
/// up for what it has not read elsewhere.
pub fn behind(next: &[i64], ends: &[(i64, i64)]) -> i64 {
    next.iter().zip(ends).map(|(next, (_, high))| (high - next).max(0)).sum()
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

    #[test]
    fn a_group_that_has_passed_the_ends_which_were_waited_for_is_not_behind() {
        let (ends, now) = ([(0, 10), (0, 20)], [(0, 15), (0, 20)]);
        let behind_with = |first, second| behind(&next_offsets(&[Some(first), Some(second)], &now), &ends);
        assert_eq!(behind_with(12, 20), 0);
        assert_eq!(behind_with(12, 17), 3);
        assert_eq!(behind_with(16, 20), 10, "Kafka has lost what it has read");
    }
}
