//! What can go wrong with the store, and what to do about it.

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
    /// The file is damaged.
    #[error("the records in {} are damaged ({reason}); nothing was changed: restore the file from a backup, or move it away to begin anew", .path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        reason: String,
    },
    /// The file was written by a newer Rota.
    #[error("the records in {} were written by a newer Rota; use that version, or another --state-dir", .path.display())]
    Newer {
        /// The file.
        path: PathBuf,
    },
    /// No space.
    #[error("the disk of {} is full: records cannot be written, so no run begins and no effect happens; free some space", .path.display())]
    Full {
        /// The file.
        path: PathBuf,
    },
    /// Not writable.
    #[error("{} cannot be written: the file, its folder or its file system is read-only, so no run begins and no effect happens; make it writable for this user, or name another folder with --state-dir or ROTA_STATE_DIR", .path.display())]
    ReadOnly {
        /// The file.
        path: PathBuf,
    },
    /// Another process holds the file for longer than is waited.
    #[error("{} is locked by another process; look which one holds it (fuser, lsof) and try again", .path.display())]
    Busy {
        /// The file.
        path: PathBuf,
    },
    /// An effect of a run that is over, or was never begun.
    #[error("the run `{run}` is {}, so it can have no effect", .status.map_or("not on record", crate::RunStatus::as_str))]
    NotRunning {
        /// The run.
        run: String,
        /// The state it is in, if it is on record.
        status: Option<crate::RunStatus>,
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
    /// Several.
    #[error("`{given}` could be any of: {}; write more of it", candidates.join(", "))]
    Ambiguous {
        /// What was given.
        given: String,
        /// Which it could be.
        candidates: Vec<String>,
    },
    /// A run that has ended cannot end again.
    #[error(transparent)]
    Transition(#[from] crate::status::IllegalTransition),
    /// It does not fit what is on record: an id that is used already, or a run that is not there.
    #[error("it does not fit what is on record: {0}")]
    Misfit(String),
    /// Anything else that SQLite says.
    #[error("the records cannot be read or written: {0}")]
    Database(String),
    /// The writer is gone.
    #[error("the store is closed")]
    Closed,
}

impl StoreError {
    /// From what SQLite says of a file.
    pub(crate) fn from_sqlx(path: &Path, error: &sqlx::Error) -> Self {
        let path = path.to_owned();
        let code = error.as_database_error().and_then(|e| e.code()).and_then(|c| c.parse::<i32>().ok()).unwrap_or(0);
        // SQLITE_IOERR_SHMSIZE: the index beside the journal cannot grow, which is how a disk without a single free page shows.
        if code == 4874 {
            return Self::Full { path };
        }
        // The low byte is SQLite's primary result code.
        match code & 0xff {
            5 | 6 => Self::Busy { path },
            11 | 26 => Self::Corrupt { path, reason: error.to_string() },
            13 => Self::Full { path },
            3 | 8 => Self::ReadOnly { path },
            19 => Self::Misfit(error.to_string()),
            14 => Self::Folder { path, reason: error.to_string() },
            _ => Self::Database(error.to_string()),
        }
    }

    /// From what the system says of a file or folder.
    pub(crate) fn from_io(path: &Path, error: &std::io::Error) -> Self {
        let path = path.to_owned();
        match error.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Self::Full { path },
            std::io::ErrorKind::ReadOnlyFilesystem | std::io::ErrorKind::PermissionDenied => Self::ReadOnly { path },
            _ => Self::Folder { path, reason: error.to_string() },
        }
    }

    /// Whether the file itself is unwell, so that nothing of a transaction can be trusted.
    pub(crate) fn is_of_the_file(&self) -> bool {
        matches!(
            self,
            Self::Corrupt { .. }
                | Self::Full { .. }
                | Self::ReadOnly { .. }
                | Self::Busy { .. }
                | Self::Folder { .. }
                | Self::Database(_)
        )
    }
}
