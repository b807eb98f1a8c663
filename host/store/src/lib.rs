//! What a host remembers: runs, their effects, logs and artifacts.
//!
//! [`Store`] is the seam; [`SqliteStore`] keeps it in one file of the state directory (PostgreSQL comes with a later version). What must
//! be true before something happens (a run has begun, an effect is about to) is durable when the call returns; logs are
//! batched. One task writes, in transactions that take up whatever is waiting.

mod error;
mod folder;
mod ledger;
mod masked;
mod process;
mod rows;
mod sqlite;
mod status;

pub use error::StoreError;
pub use rows::{ArtifactRow, EffectRow, Filter, LogRow, NewLogLine, NewRun, RunEnd, RunRow};
pub use sqlite::SqliteStore;
pub use status::{IllegalTransition, RunStatus};

use async_trait::async_trait;
use rota_authority::Ledger;
use std::sync::Arc;

/// What a host remembers.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// A run begins, in this process. Durable on return.
    async fn begin_run(&self, run: NewRun) -> Result<(), StoreError>;
    /// A run has ended. Durable on return; a run that has ended cannot end again.
    async fn end_run(&self, id: &str, end: RunEnd) -> Result<(), StoreError>;
    /// Where a run's effects are written down.
    fn ledger(&self, run: &str) -> Arc<dyn Ledger>;
    /// A line of a run's log. Never waits: false when it had to be dropped.
    fn log(&self, run: &str, line: NewLogLine) -> bool;
    /// A run keeps a file.
    async fn add_artifact(&self, run: &str, artifact: ArtifactRow) -> Result<(), StoreError>;
    /// Runs, the newest first.
    async fn runs(&self, filter: &Filter) -> Result<Vec<RunRow>, StoreError>;
    /// One run: by id, by an unambiguous part of it (four characters or more), or the `last`.
    async fn run(&self, id: &str) -> Result<RunRow, StoreError>;
    /// A run's effects, in order.
    async fn effects(&self, run: &str) -> Result<Vec<EffectRow>, StoreError>;
    /// A run's log lines after a number, at most so many.
    async fn logs(&self, run: &str, after: u64, limit: u32) -> Result<Vec<LogRow>, StoreError>;
    /// What a run keeps.
    async fn artifacts(&self, run: &str) -> Result<Vec<ArtifactRow>, StoreError>;
    /// Runs whose process is gone become `unknown`, with the effects that were under way; answers their ids.
    async fn sweep(&self) -> Result<Vec<String>, StoreError>;
    /// Everything that was handed over is durable.
    async fn flush(&self) -> Result<(), StoreError>;
}
