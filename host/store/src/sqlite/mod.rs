//! The SQLite engine: one file, `rota.db`, in the state directory.
//!
//! | part | how |
//! | --- | --- |
//! | durability | WAL with `synchronous=FULL`: a write has answered after its commit was synced |
//! | writing | one connection, one lane; what waits is committed together |
//! | reading | a few connections that cannot write |
//! | other processes | `BEGIN IMMEDIATE` and a busy time-out; making and migrating the file under a lock file (`open.rs`) |
//! | time | the machine's, or that of an injected [`Clock`] |

mod open;
mod restore;

use crate::folder::StateFolder;
use crate::read::Readers;
use crate::records::{Kept, Records};
use crate::session::Shared;
use crate::writer::{Connector, Writer};
use crate::{BackupSummary, Clock, StoreError, SystemClock};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::broadcast;

/// The records of one machine.
pub type SqliteStore = Records<Sqlite>;

/// What only this engine has.
pub struct Sqlite {
    path: PathBuf,
}

impl Kept for Sqlite {
    fn is_of_one_machine(&self) -> bool {
        true
    }

    fn close(&self) {}
}

/// How a file is opened.
#[derive(Clone)]
pub struct SqliteOptions {
    /// A largest size of the file in bytes: beyond it, it is as if the disk were full.
    pub largest: Option<u64>,
    /// Says what time it is.
    pub clock: Arc<dyn Clock>,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self { largest: None, clock: Arc::new(SystemClock) }
    }
}

/// The folder in the state directory where records wait that cannot be written.
pub(crate) const SPOOL: &str = "spool";

/// As many hints wait for a receiver that is slow; older ones are lost to it.
pub(crate) const HINTS: usize = 4_096;

impl Records<Sqlite> {
    /// The name of the file in the state directory.
    pub const FILE: &'static str = "rota.db";

    /// Open the records of a state directory; both are made when they are not there.
    ///
    /// # Errors
    /// When the folder is not safe, or the file is damaged, of a newer version, or not writable. It is never replaced.
    pub async fn open(folder: &Path) -> Result<Self, StoreError> {
        Self::open_with(folder, SqliteOptions::default()).await
    }

    /// The same, with options.
    ///
    /// # Errors
    /// See [`SqliteStore::open`].
    pub async fn open_with(folder: &Path, options: SqliteOptions) -> Result<Self, StoreError> {
        let folder = StateFolder::open(folder)?;
        let path = folder.path().join(Self::FILE);
        let connection = open::writer(&folder, &path, options.largest).await?;
        let shared = Shared {
            place: path.display().to_string().into(),
            clock: options.clock,
            refused: Arc::default(),
            has_server: false,
            spool: Some(folder.path().join(SPOOL)),
            spooled: Arc::default(),
        };
        let (hints, _) = broadcast::channel(HINTS);
        let hinted = hints.clone();
        // Nobody may be listening.
        let writer = Writer::spawn(vec![Connector::Sqlite(connection)], &shared, move |hint| drop(hinted.send(hint)));
        let readers = Readers::Sqlite(open::readers(&path));
        Ok(Self { engine: Sqlite { path }, shared, writer, readers, hints })
    }

    /// Bring back a backup of either engine. What is there is moved aside, not lost; no process may be using it. Answers what was brought
    /// back, and where the former file is.
    ///
    /// # Errors
    /// When the backup is not whole or of a newer version; nothing has changed then.
    pub async fn restore(folder: &Path, backup: &Path) -> Result<(BackupSummary, Option<PathBuf>), StoreError> {
        restore::restore(folder, backup).await
    }

    /// Where the file is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.engine.path
    }
}
