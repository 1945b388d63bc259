//! The journal: one JSON line for each decision, written before the sender gets an answer.
//!
//! A line is handed to the operating system with one `write`, so that a kill -9 of the process loses nothing. It is not
//! forced to the disk: a stand-in need not survive a power cut.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::ledger::Entry;

/// Why a journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The file cannot be opened, read or cut.
    #[error("cannot use the journal {path}: {source}")]
    File {
        /// Which file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// Two processes on one journal would each forget what the other has delivered.
    #[error("the journal {0} is in use by another process")]
    InUse(PathBuf),
    /// A complete line that is none of ours. Skipping it could forget a delivery.
    #[error("the journal {path} has an unreadable line {line}: repair the line or move the file away")]
    Line {
        /// Which file.
        path: PathBuf,
        /// Counted from 1.
        line: u64,
    },
}

/// An open journal; the file is locked as long as it lives.
#[derive(Debug)]
pub struct Journal {
    file: File,
    path: PathBuf,
    /// Length up to the last complete line.
    length: u64,
}

impl Journal {
    /// Opens the journal, creating it and its folder if they are missing, and hands every entry to `replay`.
    ///
    /// A last line without its end was torn by a kill while it was written: its sender got no answer and will repeat the
    /// message, so the line is cut off.
    pub fn open(path: &Path, mut replay: impl FnMut(Entry)) -> Result<Self, JournalError> {
        let failed = |source| JournalError::File { path: path.to_owned(), source };
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).map_err(failed)?;
        }
        let file = OpenOptions::new().read(true).append(true).create(true).open(path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(JournalError::InUse(path.to_owned())),
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }

        let mut reader = BufReader::new(&file);
        let (mut length, mut number, mut line) = (0, 0, Vec::new());
        loop {
            line.clear();
            let read = reader.read_until(b'\n', &mut line).map_err(failed)?;
            if read == 0 {
                break;
            }
            if line.last() != Some(&b'\n') {
                tracing::warn!(
                    bytes = read,
                    "the journal ends in a torn line, which was never answered: cut off"
                );
                file.set_len(length).map_err(failed)?;
                break;
            }
            number += 1;
            let entry = serde_json::from_slice(&line)
                .map_err(|_| JournalError::Line { path: path.to_owned(), line: number })?;
            replay(entry);
            length += read as u64;
        }
        Ok(Self { file, path: path.to_owned(), length })
    }

    /// The file, and how long it is up to its last complete line.
    pub fn extent(&self) -> (PathBuf, u64) {
        (self.path.clone(), self.length)
    }

    /// Appends one entry. After an error the entry is not in the journal.
    pub fn append(&mut self, entry: &Entry) -> io::Result<()> {
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
        match self.file.write_all(&line) {
            Ok(()) => {
                self.length += line.len() as u64;
                Ok(())
            }
            Err(error) => {
                // A full disk may have taken half of the line; the next one must not be glued to it.
                self.file.set_len(self.length)?;
                Err(error)
            }
        }
    }
}

/// Why a page of a journal cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum PageError {
    /// No line begins there.
    #[error("no line begins there")]
    NotABeginning,
    /// The file cannot be read, or holds a line that is none of ours.
    #[error(transparent)]
    Unreadable(#[from] io::Error),
}

/// At most `limit` entries of a journal from byte `after` on, none beyond byte `end`, and where the next page begins. May be called while
/// the journal is open: what is before the end that [`Journal::extent`] gave never changes.
pub fn page(path: &Path, after: u64, end: u64, limit: u64) -> Result<(Vec<Entry>, u64), PageError> {
    if after > end {
        return Err(PageError::NotABeginning);
    }
    let mut file = File::open(path)?;
    if let Some(before) = after.checked_sub(1) {
        let mut last_byte = [0];
        file.seek(SeekFrom::Start(before))?;
        file.read_exact(&mut last_byte)?;
        if last_byte != *b"\n" {
            return Err(PageError::NotABeginning);
        }
    }
    let (mut entries, mut next, mut line) = (Vec::new(), after, Vec::new());
    let mut reader = BufReader::new(file.take(end - after));
    while (entries.len() as u64) < limit {
        line.clear();
        let read = reader.read_until(b'\n', &mut line)?;
        if read == 0 {
            break;
        }
        entries.push(serde_json::from_slice(&line).map_err(io::Error::from)?);
        next += read as u64;
    }
    Ok((entries, next))
}

#[cfg(test)]
mod tests {
    use chrono::Utc;

    use super::*;
    use crate::channel::Channel;
    use crate::ledger::Outcome;

    fn entry(key: &str) -> Entry {
        Entry {
            at: Utc::now(),
            channel: Channel::Email,
            outcome: Outcome::Taken,
            key: Some(key.to_owned()),
            order_id: None,
            to: "a***@example.com".to_owned(),
            body: None,
        }
    }

    fn read(path: &Path) -> Result<Vec<Entry>, JournalError> {
        let mut entries = Vec::new();
        Journal::open(path, |entry| entries.push(entry)).map(|_| entries)
    }

    #[test]
    fn what_was_appended_is_read_back_and_missing_folders_are_made() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/down/journal.jsonl");
        let mut journal = Journal::open(&path, |_| panic!("a new journal is empty")).unwrap();
        let written = [entry("a"), entry("b")];
        written.iter().for_each(|entry| journal.append(entry).unwrap());
        drop(journal);
        assert_eq!(read(&path).unwrap(), written);
    }

    #[test]
    fn a_torn_last_line_is_cut_off_and_the_next_entry_starts_a_line_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.jsonl");
        Journal::open(&path, |_| {}).unwrap().append(&entry("a")).unwrap();
        let mut torn = OpenOptions::new().append(true).open(&path).unwrap();
        torn.write_all(br#"{"at":"2026-01-01T00:00:00Z","chan"#).unwrap();

        let mut journal = Journal::open(&path, |_| {}).unwrap();
        journal.append(&entry("b")).unwrap();
        drop(journal);
        let keys: Vec<_> = read(&path).unwrap().into_iter().filter_map(|entry| entry.key).collect();
        assert_eq!(keys, ["a", "b"]);
    }

    #[test]
    fn a_broken_line_in_the_middle_is_named_and_not_skipped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.jsonl");
        std::fs::write(&path, "nonsense\n").unwrap();
        assert!(matches!(read(&path), Err(JournalError::Line { line: 1, .. })));
    }

    #[test]
    fn a_journal_serves_one_process_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.jsonl");
        let _first = Journal::open(&path, |_| {}).unwrap();
        assert!(matches!(read(&path), Err(JournalError::InUse(_))));
    }
}
