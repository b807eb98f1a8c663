//! The spool: what records say that cannot be written while their place is away, kept until it is back.
//!
//! Outcomes of effects and log lines of runs that go on meanwhile are appended to a file of this machine, and delivered in order, once;
//! what a process leaves that is killed meanwhile is delivered by the next that opens the records. Nothing is spooled that needs an
//! answer to go on: an effect begins only when that is on record.
//!
//! | bound | what happens beyond it |
//! | --- | --- |
//! | seven eighths of the limit | log lines are dropped, and counted |
//! | the limit | outcomes are refused: their effects stay without one |
//! | a disk that takes nothing | so many records are kept in memory, then the same |
//!
//! A process that is killed between a delivery and its being noted delivers again: outcomes do no harm, lines may be there twice.

use crate::NewLogLine;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// How much the files of one lane may hold, in bytes.
pub(crate) const LIMIT: u64 = 64 << 20;

/// So many are kept in memory where the disk takes nothing.
const IN_MEMORY: usize = 2_000;

/// A line of a file is not longer; what is, is not one of ours.
const LONGEST: u64 = 4 << 20;

const SUFFIX: &str = "spool";

/// A record that is delivered late.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub(crate) enum Late {
    /// How an effect ended that was begun under a lease of this number.
    Outcome { run: String, lease: i64, sequence: u64, outcome: String, said: Option<String> },
    /// A line of a run's log.
    Line { run: String, line: NewLogLine },
}

/// The records of one lane that wait.
pub(crate) struct Spool {
    folder: Option<PathBuf>,
    limit: u64,
    own: Option<Pages>,
    /// Left by processes that are gone.
    found: VecDeque<Pages>,
    memory: VecDeque<Late>,
    /// How many wait, in all lanes of the process.
    waiting: std::sync::Arc<AtomicU64>,
}

/// A file of records, of which those before `read` were delivered.
struct Pages {
    path: PathBuf,
    file: File,
    read: u64,
    written: u64,
    /// How many were answered by the last [`Spool::first`], and the bytes that they take.
    lent: (usize, u64),
}

impl Pages {
    fn is_empty(&self) -> bool {
        self.read >= self.written
    }

    fn append(&mut self, text: &[u8]) -> std::io::Result<()> {
        let done = self.file.seek(SeekFrom::Start(self.written)).and_then(|_| self.file.write_all(text));
        if let Err(error) = done {
            // Half a line would spoil the next one.
            let _ = self.file.set_len(self.written);
            return Err(error);
        }
        self.written += text.len() as u64;
        Ok(())
    }

    /// The first records, at most so many. What is no record (the torn end of a crash) is stepped over.
    fn first(&mut self, most: usize) -> std::io::Result<Vec<Late>> {
        let mut records = Vec::new();
        let mut bytes = 0;
        self.file.seek(SeekFrom::Start(self.read))?;
        let mut reader = BufReader::new(&self.file);
        while records.len() < most && self.read + bytes < self.written {
            let mut line = Vec::new();
            let got = (&mut reader).take(LONGEST).read_until(b'\n', &mut line)? as u64;
            if got == 0 {
                break;
            }
            bytes += got;
            match serde_json::from_slice(&line) {
                Ok(record) => records.push(record),
                Err(error) => tracing::warn!(path = %self.path.display(), %error, "a spooled record cannot be read"),
            }
        }
        if records.is_empty() {
            // Nothing of the rest is a record.
            self.read = if bytes == 0 { self.written } else { self.read + bytes };
        }
        self.lent = (records.len(), bytes);
        Ok(records)
    }

    fn remove(self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::debug!(path = %self.path.display(), %error, "an empty spool stays");
        }
    }
}

impl Spool {
    /// One that keeps its files in a folder, or, without one, a little in memory.
    pub(crate) fn new(folder: Option<PathBuf>, limit: u64, waiting: std::sync::Arc<AtomicU64>) -> Self {
        Self { folder, limit, own: None, found: VecDeque::new(), memory: VecDeque::new(), waiting }
    }

    /// Take what processes have left that are gone. Each file is taken by one process: it is locked as long as it is used.
    pub(crate) fn find(&mut self) {
        let Some(folder) = self.folder.clone() else { return };
        let Ok(entries) = std::fs::read_dir(&folder) else { return };
        let mut paths: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        paths.retain(|path| path.extension().is_some_and(|found| found == SUFFIX));
        // By name, which begins with the time.
        paths.sort();
        for path in paths {
            let Ok(file) = OpenOptions::new().read(true).write(true).custom_flags(libc_nofollow()).open(&path) else {
                continue;
            };
            // The lane's own file is locked by this process, through another descriptor, and refused like any other's.
            if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
                continue;
            }
            let Ok(about) = file.metadata() else { continue };
            let pages = Pages { path, file, read: 0, written: about.len(), lent: (0, 0) };
            if pages.is_empty() {
                pages.remove();
            } else {
                tracing::info!(path = %pages.path.display(), "records that a former process could not deliver are delivered");
                self.found.push_back(pages);
            }
        }
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.memory.is_empty() && self.found.is_empty() && self.own.as_ref().is_none_or(Pages::is_empty)
    }

    /// Keep records; answers those that there is no room for.
    pub(crate) fn keep(&mut self, records: Vec<Late>) -> Vec<Late> {
        if self.is_empty() && !records.is_empty() {
            tracing::warn!("what cannot be recorded now is kept, and delivered when the store is back");
        }
        let mut refused = Vec::new();
        let mut text = Vec::new();
        let mut written = Vec::new();
        let used = self.own.as_ref().map_or(0, |own| own.written);
        for record in records {
            let before = text.len();
            if serde_json::to_writer(&mut text, &record).is_err() {
                text.truncate(before);
                refused.push(record);
                continue;
            }
            text.push(b'\n');
            let limit = if matches!(record, Late::Line { .. }) { self.limit / 8 * 7 } else { self.limit };
            if used + text.len() as u64 > limit || (text.len() - before) as u64 > LONGEST {
                text.truncate(before);
                refused.push(record);
            } else {
                written.push(record);
            }
        }
        let kept = written.len();
        // In order: what is in memory already was said before.
        if !self.memory.is_empty() || self.write(&text).is_err() {
            let room = IN_MEMORY.saturating_sub(self.memory.len()).min(written.len());
            refused.extend(written.split_off(room));
            self.waiting.fetch_add(room as u64, Ordering::Relaxed);
            self.memory.extend(written);
        } else {
            self.waiting.fetch_add(kept as u64, Ordering::Relaxed);
        }
        refused
    }

    fn write(&mut self, text: &[u8]) -> std::io::Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        let own = match &mut self.own {
            Some(own) => own,
            none => {
                let folder = self.folder.as_ref().ok_or(std::io::ErrorKind::NotFound)?;
                none.insert(make(folder)?)
            }
        };
        own.append(text)?;
        own.file.sync_data()
    }

    /// The records that were kept first, at most so many.
    pub(crate) fn first(&mut self, most: usize) -> Vec<Late> {
        loop {
            let Some(pages) = self.found.front_mut().or(self.own.as_mut().filter(|own| !own.is_empty())) else {
                return self.memory.iter().take(most).cloned().collect();
            };
            match pages.first(most) {
                Ok(records) if records.is_empty() => self.turn(),
                Ok(records) => return records,
                Err(error) => {
                    tracing::error!(path = %pages.path.display(), %error, "spooled records cannot be read and are given up");
                    pages.read = pages.written;
                    self.turn();
                }
            }
        }
    }

    /// Those that [`Spool::first`] answered are delivered.
    pub(crate) fn delivered(&mut self, count: usize) {
        // Those of former processes were never counted.
        let counted = self.found.is_empty();
        if let Some(pages) = self.found.front_mut().or(self.own.as_mut().filter(|own| !own.is_empty())) {
            pages.read += pages.lent.1;
            self.turn();
        } else {
            self.memory.drain(..count.min(self.memory.len()));
        }
        if counted {
            let _ = self.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |waiting| {
                Some(waiting.saturating_sub(count as u64))
            });
        }
    }

    /// Files that are done with go.
    fn turn(&mut self) {
        while self.found.front().is_some_and(Pages::is_empty) {
            if let Some(pages) = self.found.pop_front() {
                pages.remove();
            }
        }
        if let Some(own) = self.own.take_if(|own| own.is_empty()) {
            own.remove();
        }
    }
}

/// A new file, locked, that only this user may read.
fn make(folder: &Path) -> std::io::Result<Pages> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let time = chrono::Utc::now().timestamp_micros();
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let path = folder.join(format!("{time:017}-{}-{count}.{SUFFIX}", std::process::id()));
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    flock(&file, FlockOperation::NonBlockingLockExclusive)?;
    // The name has to be there after a crash as well.
    File::open(folder)?.sync_all()?;
    Ok(Pages { path, file, read: 0, written: 0, lent: (0, 0) })
}

/// A link in the place of a file is not followed.
fn libc_nofollow() -> i32 {
    i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use std::sync::Arc;

    fn outcome(sequence: u64) -> Late {
        Late::Outcome { run: "r".into(), lease: 1, sequence, outcome: "done".into(), said: None }
    }

    fn line(message: &str) -> Late {
        let line = NewLogLine {
            time: chrono::DateTime::UNIX_EPOCH,
            level: "info".into(),
            source: "procedure".into(),
            message: message.into(),
            fields: vec![],
        };
        Late::Line { run: "r".into(), line }
    }

    fn files(folder: &Path) -> usize {
        std::fs::read_dir(folder).map_or(0, Iterator::count)
    }

    #[test]
    fn what_is_kept_comes_back_in_order_and_leaves_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let waiting = Arc::new(AtomicU64::new(0));
        let mut spool = Spool::new(Some(folder.path().join("spool")), LIMIT, waiting.clone());
        assert!(spool.is_empty());
        assert!(spool.keep(vec![outcome(1), line("a")]).is_empty());
        assert!(spool.keep(vec![outcome(2)]).is_empty());
        assert_eq!(waiting.load(Ordering::Relaxed), 3);
        assert_eq!(spool.first(2), [outcome(1), line("a")]);
        assert_eq!(spool.first(2), [outcome(1), line("a")], "what was not delivered is answered again");
        spool.delivered(2);
        assert!(spool.keep(vec![outcome(3)]).is_empty());
        assert_eq!(spool.first(10), [outcome(2), outcome(3)]);
        spool.delivered(2);
        assert!(spool.is_empty() && spool.first(10).is_empty());
        assert_eq!(waiting.load(Ordering::Relaxed), 0);
        assert_eq!(files(&folder.path().join("spool")), 0);
    }

    #[test]
    fn what_a_killed_process_leaves_is_found_once_and_a_torn_end_is_stepped_over() {
        let folder = tempfile::tempdir().unwrap();
        let mut first = Spool::new(Some(folder.path().into()), LIMIT, Arc::default());
        first.keep(vec![outcome(1), outcome(2)]);
        let path = first.own.as_ref().unwrap().path.clone();
        let mut second = Spool::new(Some(folder.path().into()), LIMIT, Arc::default());
        second.find();
        assert!(second.is_empty(), "its process lives");
        drop(first);
        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"what\":\"outc").unwrap();
        second.find();
        second.keep(vec![outcome(3)]);
        let mut third = Spool::new(Some(folder.path().into()), LIMIT, Arc::default());
        third.find();
        assert!(third.is_empty(), "another has taken it");
        assert_eq!(second.first(10), [outcome(1), outcome(2)]);
        second.delivered(2);
        assert_eq!(second.first(10), [outcome(3)]);
        second.delivered(1);
        assert!(second.is_empty());
        assert_eq!(files(folder.path()), 0);
    }

    #[test]
    fn beyond_its_limit_lines_go_first_and_what_is_refused_is_answered() {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = Spool::new(Some(folder.path().into()), 4_000, Arc::default());
        let lines: Vec<_> = (0..100).map(|n| line(&n.to_string())).collect();
        let refused = spool.keep(lines);
        assert!(!refused.is_empty() && refused.iter().all(|record| matches!(record, Late::Line { .. })));
        assert!(spool.keep(vec![outcome(1)]).is_empty(), "the last eighth is for outcomes");
        assert_eq!(spool.first(1_000).len() + refused.len(), 101);
    }

    #[test]
    fn without_a_disk_a_little_is_kept_in_memory() {
        for folder in [None, Some(PathBuf::from("/proc/nowhere"))] {
            let mut spool = Spool::new(folder, LIMIT, Arc::default());
            let refused = spool.keep((0..IN_MEMORY as u64 + 5).map(outcome).collect());
            assert_eq!(refused.len(), 5);
            assert_eq!(spool.first(1), [outcome(0)]);
            spool.delivered(1);
            assert_eq!(spool.first(1), [outcome(1)]);
        }
    }
}
