//! How letters are grouped on their way.

use std::collections::HashSet;

use super::selection::Candidate;

/// Letters, and bytes of their payloads, that are held in memory together.
pub(super) const FETCH: usize = 500;
pub(super) const FETCH_BYTES: usize = 8 << 20;

/// How many letters from the front are fetched together. One at least, however large.
pub(in crate::replay) fn fetched_together(rest: &[Candidate]) -> usize {
    let mut bytes = 0usize;
    let fitting = rest.iter().take(FETCH).take_while(|letter| {
        bytes = bytes.saturating_add(letter.payload_bytes);
        bytes <= FETCH_BYTES
    });
    fitting.count().max(1).min(rest.len())
}

/// How many letters from the front, at most `most`, may wait for their acknowledgements together: no key twice, so that a letter is never
/// on the topic while an earlier one of its key failed to get there.
pub(in crate::replay) fn sent_together(rest: &[Candidate], most: usize) -> usize {
    let mut keys = HashSet::new();
    rest.iter().take(most).take_while(|letter| letter.key.is_empty() || keys.insert(&letter.key)).count()
}
