//! What can go wrong with the store, and what to do about it.

use crate::RunState;
use rota_protocol::{IllegalTransition, LeaseLost};
use std::path::{Path, PathBuf};

/// Why the store did not do it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The state directory does not serve.
    #[error("the state directory {} cannot be used: {reason}; name another with --state-dir or ROTA_STATE_DIR", .path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The records are damaged.
    #[error(
        "the records in {place} are damaged ({reason}); nothing was changed: bring back a backup with `rota store restore FILE`, or move it away to begin anew"
    )]
    Corrupt {
        /// The file or database.
        place: String,
        /// What the database says.
        reason: String,
    },
    /// The records were written by a newer Rota.
    #[error(
        "the records in {place} were written by a newer Rota (schema {found}, this one knows {known}); use that version, or another place for the records"
    )]
    Newer {
        /// The file or database.
        place: String,
        /// Its schema.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// No space.
    #[error(
        "the disk of {place} is full: records cannot be written, so no run begins and no effect happens; free some space"
    )]
    Full {
        /// The file or database.
        place: String,
    },
    /// Not writable.
    #[error(
        "{place} cannot be written: the file, its folder or its file system is read-only, or the database is a standby or read-only, so no run begins and no effect happens; make it writable for this user, or name another folder with --state-dir or ROTA_STATE_DIR"
    )]
    ReadOnly {
        /// The file or database.
        place: String,
    },
    /// Another process holds what is needed for longer than is waited.
    #[error(
        "{place} is locked by another process; look which one holds it (fuser or lsof for a file, pg_locks for PostgreSQL) and try again"
    )]
    Busy {
        /// The file or database.
        place: String,
    },
    /// The database cannot be reached, or broke off. Whether what was under way is on record is not known.
    #[error(
        "{place} cannot be reached ({reason}); this is tried again by itself, look whether the server is up and the network lets through"
    )]
    Unavailable {
        /// The database.
        place: String,
        /// Why.
        reason: String,
    },
    /// The database lets us not in, or lacks something.
    #[error(
        "{place} refuses Rota ({reason}); look at user, password, database and privileges: the user must be able to create the schema `rota`, or own it"
    )]
    Refused {
        /// The database.
        place: String,
        /// What it says.
        reason: String,
    },
    /// The worker does not hold the run any more. Nothing was written.
    #[error("the run `{run}`: {lost}; nothing was written")]
    LeaseLost {
        /// The run.
        run: String,
        /// Why.
        lost: LeaseLost,
    },
    /// The outcome of an effect that was never begun.
    #[error("the run `{run}` has no effect {sequence}")]
    NoEffect {
        /// The run.
        run: String,
        /// The number.
        sequence: u64,
    },
    /// No run of the name.
    #[error("there is no run `{0}`; `rota runs list` shows them")]
    NotFound(String),
    /// No schedule of the job.
    #[error("the job `{0}` has no schedule on record; `rota jobs list` shows them")]
    NoSchedule(String),
    /// Several.
    #[error("`{given}` could be any of: {}; write more of it", candidates.join(", "))]
    Ambiguous {
        /// What was given.
        given: String,
        /// Which it could be.
        candidates: Vec<String>,
    },
    /// Something that cannot happen to a run in its state.
    #[error("the run `{run}`: {error}")]
    Transition {
        /// The run.
        run: String,
        /// What cannot follow.
        error: IllegalTransition,
    },
    /// A run that may not run beside another one that is under way.
    #[error(
        "the run may not run beside `{holder}`, which holds `{key}`; wait for it, or cancel it with `rota runs cancel {holder}`"
    )]
    Conflict {
        /// What both need.
        key: String,
        /// Who holds it.
        holder: String,
    },
    /// Somebody changed it meanwhile.
    #[error("{0} was changed meanwhile; read it again")]
    Stale(String),
    /// It does not fit what is on record: an id that is used already, or a run that is not there.
    #[error("it does not fit what is on record: {0}")]
    Misfit(String),
    /// A file that is no backup, or not a whole one.
    #[error("{} is no backup that can be restored: {reason}", .path.display())]
    Backup {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Anything else that the database says.
    #[error("the records cannot be read or written: {0}")]
    Database(String),
    /// The writer is gone.
    #[error("the store is closed")]
    Closed,
}

impl StoreError {
    /// From what the system says of a file or folder.
    pub(crate) fn from_io(path: &Path, error: &std::io::Error) -> Self {
        let place = || path.display().to_string();
        match error.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Self::Full { place: place() },
            std::io::ErrorKind::ReadOnlyFilesystem | std::io::ErrorKind::PermissionDenied => {
                Self::ReadOnly { place: place() }
            }
            _ => Self::Folder { path: path.to_owned(), reason: error.to_string() },
        }
    }

    /// What cannot happen to a run.
    pub(crate) fn transition(run: &str) -> impl FnOnce(IllegalTransition) -> Self {
        move |error| Self::Transition { run: run.to_owned(), error }
    }

    /// The state of the run that stood against it.
    #[must_use]
    pub fn state(&self) -> Option<RunState> {
        match self {
            Self::Transition { error, .. } => Some(error.from),
            _ => None,
        }
    }

    /// Whether the same call may succeed later without anybody doing anything about the call itself.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::Busy { .. } | Self::Full { .. })
    }

    /// Whether a worker has lost its run.
    #[must_use]
    pub fn is_lease_lost(&self) -> bool {
        matches!(self, Self::LeaseLost { .. })
    }

    /// Whether the records as a whole are unwell, so that nothing of a transaction can be trusted.
    pub(crate) fn is_of_the_place(&self) -> bool {
        matches!(
            self,
            Self::Corrupt { .. }
                | Self::Full { .. }
                | Self::ReadOnly { .. }
                | Self::Busy { .. }
                | Self::Folder { .. }
                | Self::Unavailable { .. }
                | Self::Database(_)
        )
    }
}
