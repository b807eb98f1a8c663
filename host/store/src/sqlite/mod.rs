//! The SQLite engine: one file, `rota.db`, in the state directory.
//!
//! | part | how |
//! | --- | --- |
//! | durability | WAL with `synchronous=FULL`: a write has answered after its commit was synced |
//! | writing | one connection, one task; what waits is committed together (`writer.rs`) |
//! | reading | a few connections that cannot write (`read.rs`) |
//! | other processes | `BEGIN IMMEDIATE` and a busy time-out; making and migrating the file under a lock file (`open.rs`) |

pub(crate) mod apply;
mod open;
mod read;
pub(crate) mod writer;

use crate::folder::StateFolder;
use crate::ledger::RunLedger;
use crate::masked;
use crate::process::Process;
use crate::{ArtifactRow, EffectRow, Filter, LogRow, NewLogLine, NewRun, RunEnd, RunRow, Store, StoreError};
use apply::{Answer, Op};
use async_trait::async_trait;
use rota_authority::Ledger;
use sqlx::sqlite::SqlitePool;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use writer::Writer;

/// The records of one machine.
pub struct SqliteStore {
    path: PathBuf,
    this: Process,
    writer: Writer,
    readers: SqlitePool,
}

impl SqliteStore {
    /// The name of the file in the state directory.
    pub const FILE: &'static str = "rota.db";

    /// Open the records of a state directory; both are made when they are not there.
    ///
    /// # Errors
    /// When the folder is not safe, or the file is damaged, of a newer version, or not writable. It is never replaced.
    pub async fn open(folder: &Path) -> Result<Self, StoreError> {
        Self::open_bounded(folder, None).await
    }

    /// The same, with a largest size of the file in bytes: beyond it, it is as if the disk were full.
    ///
    /// # Errors
    /// See [`SqliteStore::open`].
    pub async fn open_bounded(folder: &Path, largest: Option<u64>) -> Result<Self, StoreError> {
        let folder = StateFolder::open(folder)?;
        let path = folder.path().join(Self::FILE);
        let connection = open::writer(&folder, &path, largest).await?;
        let writer = Writer::spawn(connection, path.clone());
        let readers = open::readers(&path);
        Ok(Self { path, this: Process::this(), writer, readers })
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Write what waits, and take nothing more.
    pub async fn close(&self) {
        self.writer.close().await;
        self.readers.close().await;
    }

    fn wrong(&self, error: &sqlx::Error) -> StoreError {
        StoreError::from_sqlx(&self.path, error)
    }

    /// What cannot be written now (a full disk) can still be read; a run whose process is gone is shown as unknown all the same.
    async fn sweep_before_reading(&self) {
        if let Err(error) = self.sweep().await {
            tracing::warn!(%error, "runs whose process is gone could not be recorded as unknown");
        }
    }

    /// The whole id of a run.
    async fn resolve(&self, given: &str) -> Result<String, StoreError> {
        let mut candidates = read::ids(&self.readers, given).await.map_err(|error| self.wrong(&error))?;
        match candidates.len() {
            0 => Err(StoreError::NotFound(given.chars().filter(|c| !c.is_control()).take(64).collect())),
            1 => Ok(candidates.remove(0)),
            _ => Err(StoreError::Ambiguous { given: given.into(), candidates }),
        }
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn begin_run(&self, mut run: NewRun) -> Result<(), StoreError> {
        run.parameters = masked::json(run.parameters);
        run.grants = masked::json(run.grants);
        self.writer.ask(Op::BeginRun { run: Box::new(run), process: self.this.clone() }).await.map(drop)
    }

    async fn end_run(&self, id: &str, mut end: RunEnd) -> Result<(), StoreError> {
        end.report = end.report.map(masked::json);
        end.error = end.error.map(masked::json);
        self.writer.ask(Op::EndRun { run: id.into(), end: Box::new(end) }).await.map(drop)
    }

    fn ledger(&self, run: &str) -> Arc<dyn Ledger> {
        Arc::new(RunLedger { run: run.into(), writer: self.writer.clone() })
    }

    fn log(&self, run: &str, mut line: NewLogLine) -> bool {
        line.message = masked::text(line.message);
        line.fields = line.fields.into_iter().map(|(key, value)| (masked::text(key), masked::text(value))).collect();
        self.writer.log(run, line)
    }

    async fn add_artifact(&self, run: &str, artifact: ArtifactRow) -> Result<(), StoreError> {
        self.writer.ask(Op::Artifact { run: run.into(), artifact: Box::new(artifact) }).await.map(drop)
    }

    async fn runs(&self, filter: &Filter) -> Result<Vec<RunRow>, StoreError> {
        self.sweep_before_reading().await;
        read::runs(&self.readers, filter).await.map_err(|error| self.wrong(&error))
    }

    async fn run(&self, id: &str) -> Result<RunRow, StoreError> {
        self.sweep_before_reading().await;
        let id = self.resolve(id).await?;
        let found = read::run(&self.readers, &id).await.map_err(|error| self.wrong(&error))?;
        found.ok_or(StoreError::NotFound(id))
    }

    async fn effects(&self, run: &str) -> Result<Vec<EffectRow>, StoreError> {
        self.sweep_before_reading().await;
        read::effects(&self.readers, run).await.map_err(|error| self.wrong(&error))
    }

    async fn logs(&self, run: &str, after: u64, limit: u32) -> Result<Vec<LogRow>, StoreError> {
        self.flush().await?;
        read::logs(&self.readers, run, after, limit).await.map_err(|error| self.wrong(&error))
    }

    async fn artifacts(&self, run: &str) -> Result<Vec<ArtifactRow>, StoreError> {
        read::artifacts(&self.readers, run).await.map_err(|error| self.wrong(&error))
    }

    async fn sweep(&self) -> Result<Vec<String>, StoreError> {
        let processes = read::processes(&self.readers).await.map_err(|error| self.wrong(&error))?;
        let mut lost = Vec::new();
        for process in processes.into_iter().filter(|process| *process != self.this && process.is_gone()) {
            if let Answer::Runs(runs) = self.writer.ask(Op::Lose { process }).await? {
                lost.extend(runs);
            }
        }
        Ok(lost)
    }

    async fn flush(&self) -> Result<(), StoreError> {
        self.writer.ask(Op::Nothing).await.map(drop)
    }
}
